# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# maintenance - eight guests of alpha with copies on beta, for the figures of a host that is restarted.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

GUESTS=8

us() {
  lab exec gamma understudy "$@"
}

whole() {
  us status web --json | jq -e '.scenarios[0] | .state == "running" and (.vms | all(.state == "protected" and .guest == "alive"))'
}

silent() {
  us host list --json | jq -e '.hosts[] | select(.name == "'"$1"'") | .state != "up"'
}

# of HOST EXPRESSION: of its newest maintenance
of() {
  us maintenance list --json | jq -er --arg host "$1" '.maintenances[] | select(.host == $host) | '"$2"
}

maintenance_up() {
  local i vms=()
  lab up --hosts alpha,beta,gamma >&2
  for ((i = 1; i <= GUESTS; i++)); do
    lab guest alpha "web$i" --disks 1 --size 128M --memory 128M --rate 2 >&2
    lab agent alpha "web$i" true >&2
    vms+=(--vm "web$i")
  done
  us scenario create web --master alpha --replica beta "${vms[@]}" --interval 5s >&2
  us run web --yes --wait --timeout 300s >&2
  eventually 120 whole
}

# maintained HOST: prepared, rebooted and whole again. What it took is at the end of $TEST_TMP/extra_ms, whole_ms and resync.
maintained() {
  local begun ready up=0
  begun=$(now_ms)
  us maintenance start "$1" --yes --wait --timeout 300s >&2
  ready=$(($(now_ms) - begun))
  echo $((ready - $(of "$1" '[.scenarios[].vms[].off_ms // 0] | max'))) >>"$TEST_TMP/extra_ms"
  lab crash "$1" >&2
  eventually 60 silent "$1"
  lab boot "$1" >&2
  if [[ $1 == alpha ]]; then
    eventually 300 all_are_up
    up=$(now_ms)
  fi
  eventually 300 of "$1" 'select(.state == "ended")'
  ((up == 0)) || echo $(($(now_ms) - up)) >>"$TEST_TMP/whole_ms"
  of "$1" .resync_bytes >>"$TEST_TMP/resync"
  eventually 120 whole
  note "$1: $(tail -qn1 "$TEST_TMP"/{extra_ms,resync} | xargs)"
}

# Whoever was started boots, for some ten seconds under emulation, and is up when its agent answers.
all_are_up() {
  local i
  for ((i = 1; i <= GUESTS; i++)); do lab agent alpha "web$i" true || return; done
}
