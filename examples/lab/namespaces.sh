# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# namespaces - what makes one machine look like several: a holder process for
# each host and for the switch, whose death is the death of all inside.

# Start a holder in FOLDER $1; the rest are its arguments (see holder).
space_open() {
  local folder=$1
  shift
  rm -f "$folder/holder"
  setsid -f unshare --net --mount --uts --pid --fork --kill-child --propagation private \
    -- "$LAB_HERE/holder" "$@" </dev/null >"$folder/holder.log" 2>&1
  wait_until 10 test -e "$folder/holder" || die "no namespaces: $(cat "$folder/holder.log")"
}

# Print the holder's number if it is alive. A number alone may have been reused
# since: the start time of the process must be the same, too.
space_pid() {
  local folder=$1 pid start stat
  [[ -e $folder/holder ]] || return 1
  read -r pid start <"$folder/holder"
  { read -ra stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
  [[ ${stat[21]} == "$start" && ${stat[2]} != Z ]] || return 1
  echo "$pid"
}

space_is_open() {
  space_pid "$1" >/dev/null
}

space_is_closed() {
  ! space_is_open "$1"
}

# Kill everything inside at once: the kernel does, when the first process dies.
space_close() {
  local folder=$1 pid
  if pid=$(space_pid "$folder"); then
    kill -KILL "$pid"
    wait_until 30 space_is_closed "$folder" || die "process $pid of $folder does not end"
  fi
  rm -f "$folder/holder"
}

# Run a command inside the namespaces of FOLDER $1.
space_enter() {
  local folder=$1 pid
  shift
  pid=$(space_pid "$folder") || die "${folder##*/} is not running (lab boot ${folder##*/})"
  nsenter -t "$pid" -m -u -n -p -- "$@"
}
