# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# controller - runs on one host of the lab, owns the engines of all, and shows
# its console on the machine's 127.0.0.1.

controller_host() {
  cat "$LAB_DIR/controller" 2>/dev/null
}

# Start it if HOST is its place and this build has one.
controller_start() {
  local host=$1 program
  program=$(cat "$LAB_DIR/bin" 2>/dev/null)/orchestrator/understudy-controller
  [[ $(controller_host) == "$host" && -x $program ]] || return 0
  daemon_folders "$host" controller
  touch "$(host_dir "$host")/etc/understudy/controller.conf"
  daemon_runs "$host" controller || daemon_spawn "$host" controller "$program" --config /etc/understudy/controller.conf
}

# Make every engine its own, by the commands a person would type.
controller_enrol() {
  local place host token
  place=$(controller_host)
  [[ $place != none ]] && daemon_runs "$place" controller || return 0
  wait_until 30 controller_answers "$place" ||
    die "the controller on $place does not answer: $(tail -3 "$(host_dir "$place")/log/controller.log")"
  for host in $(host_list); do
    daemon_runs "$host" engine || continue
    token=$(host_dir "$host")/run/understudy/engine/token
    wait_until 30 test -s "$token" ||
      die "the engine of $host shows no token: $(tail -3 "$(host_dir "$host")/log/engine.log")"
    in_host "$place" understudy host add "$host" --address "$host" --token "@$token" >&2 ||
      die "the controller does not take $host"
  done
  console_open "$place"
}

controller_answers() {
  in_host "$1" understudy host list >/dev/null 2>&1
}

# The only thing of a lab in the machine's own network: a port of 127.0.0.1,
# each connection carried into the controller's host.
console_open() {
  local place=$1 port=25443
  while ! console_port_is_free "$port"; do ((port++)); done
  # shellcheck disable=SC2016
  setsid -f sh -c 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0/holder"; shift; exec "$@"' "$LAB_DIR/console" \
    -- socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" \
    EXEC:"$LAB_HERE/lab --name $LAB_NAME --dir $LAB_DIR exec $place socat STDIO TCP\\:127.0.0.1\\:25443" \
    </dev/null >/dev/null 2>"$LAB_DIR/console/log"
  say "controller: https://127.0.0.1:$port/"
}

console_port_is_free() {
  ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
