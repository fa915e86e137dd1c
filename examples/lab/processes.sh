# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# processes - find one process of a host, kill it, stop it, let it go on.
#
# Numbers are those inside the host: nothing outside it can be hit.

# Print the number of PROCESS in HOST if it runs: engine, guard, controller, receiver,
# libvirtd, virtlogd, qemu:VM, storage:VM or a number.
process_pid() {
  local host=$1 process=$2 run pid
  run=$(host_dir "$host")/run
  case $process in
    engine | guard | controller | receiver) pid=$(cat "$run/lab/$process.pid" 2>/dev/null) ;;
    libvirtd | virtlogd) pid=$(cat "$run/$process.pid" 2>/dev/null) ;;
    qemu:*) pid=$(cat "$run/libvirt/qemu/${process#qemu:}.pid" 2>/dev/null) ;;
    storage:*) pid=$(process_storage "$host" "${process#storage:}") ;;
    *[!0-9]* | '') usage_error "no such process: '$process'" ;;
    *) pid=$process ;;
  esac
  [[ -n $pid ]] && in_host "$host" test -e "/proc/$pid/exe" && echo "$pid"
}

# A standby's storage daemon is known by its command line, which names the VM.
process_storage() {
  local host=$1 vm=$2
  # shellcheck disable=SC2016
  in_host "$host" sh -c 'for p in /proc/[0-9]*; do
      case $(readlink "$p/exe") in */qemu-storage-daemon) ;; *) continue ;; esac
      tr "\0" "\n" <"$p/cmdline" | grep -qF -e "$0" -e "$1" && echo "${p#/proc/}" && break
    done' "$(guest_uuid "$vm")" "$vm"
}

# lab freeze|thaw|kill HOST [PROCESS]; without a process, all of the host.
process_signal() {
  local signal=$1 host=$2 process=${3:-} pid
  host_known "$host"
  if [[ -z $process ]]; then
    in_host "$host" sh -c "kill -$signal -1"
    return
  fi
  pid=$(process_pid "$host" "$process") || die "no $process runs on $host"
  in_host "$host" kill "-$signal" "$pid"
  # Who starts it again at once must not find it still there.
  [[ $signal != KILL ]] || wait_until 10 process_gone "$host" "$pid" || die "$process of $host does not die"
}

# No thread of it is left: as long as one is, its locks and sockets are, too.
process_gone() {
  # shellcheck disable=SC2016
  in_host "$1" sh -c '! grep -qs "^State:.[^ZX]" "/proc/$0/task/"*/status' "$2"
}
