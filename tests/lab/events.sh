# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# events - what tests of life and death share, after lib.sh: the controller on gamma is asked what was said since a mark, and whether
# all is well.

# Of the codes that count, the first word; a test may count others.
KINDS='PROBE|HOST|HYPERVISOR|GUEST|AGENT|COUNTDOWN|WATCH|SWITCHOVER'
WELL_S=180
# What is said of a guest that dies and is started where it was.
# shellcheck disable=SC2034
DEAD='GUEST_SILENT COUNTDOWN_STARTED GUEST_RESTARTED GUEST_BACK COUNTDOWN_CANCELLED'

us() {
  lab exec gamma understudy "$@"
}

# status SCENARIO EXPRESSION
status() {
  us status "$1" --json | jq -e ".scenarios[0] | $2"
}

# protected_from HOST: the VM of scenario web.
protected_from() {
  status web '.state == "running" and .active == "'"$1"'" and .vms[0].state == "protected"'
}

# Numbers of events are compared with this one.
mark() {
  since=$(us events --json | jq '.events[-1].sequence // 0')
}

# events PATTERN: the codes since the mark that it matches, in their order, one a line.
events() {
  us events --json | jq -r --argjson since "$since" --arg pattern "$1" \
    '.events[] | select(.sequence > $since) | .code | select(test($pattern))'
}

# Those that count, in one line. That an agent is there again, or that a host sees again, comes sooner or later.
codes() {
  events "^($KINDS)_" | grep -vxE 'AGENT_BACK|WATCH_SEES' | xargs
}

# said CODES…: just these; of several, one.
said() {
  local now one
  now=$(codes)
  for one in "$@"; do [[ $now != "$one" ]] || return 0; done
  echo "said: $now" && return 1
}

# lives SCENARIO…: each guest of these, in one moment.
lives() {
  us status --json | jq -e '[.scenarios[] | select(.name | IN($ARGS.positional[]))] | length == ($ARGS.positional | length)
    and all(.[]; .countdown_s == null and (.vms | length > 0) and all(.vms[]; .guest == "alive" and .state == "protected"
    and all(.checks[]; .answered and .misses == 0)))' --args "$@"
}

is_well() {
  eventually "$WELL_S" "all is well" lives "$@"
}
