# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# rehearse - what lab tests of integrity tests share, after drive.sh: one is begun on beta, waited for, and leaves nothing.
# $id is the test, $vm the VM's UUID; $name and $scenario are web1 and web unless they are set.
# shellcheck disable=SC2154,SC2016

new_test() {
  id=$(cat /proc/sys/kernel/random/uuid)
}

# begin [MORE [MANUAL]]
begin() {
  call beta test.start "{\"test\":\"$id\",\"scenario\":\"${scenario:-web}\",\"manual\":${2:-false},\"limit_ms\":${LIMIT_MS:-120000},
    \"boot_ms\":${BOOT_MS:-90000},\"vms\":[{\"vm\":\"$vm\",\"name\":\"${name:-web1}\"${1:-}}]}"
}

# result FILTER [OPTION…]
result() {
  call beta test.result "{\"test\":\"$id\"}" | jq -e "${@:2}" "$1"
}

console() {
  call beta test.evidence "{\"test\":\"$id\",\"vm\":\"$vm\"}" | jq -r .console
}

has_ended() {
  result '.state == "ended"'
}

# tested VERDICT WHAT [MORE]: a test ends so.
tested() {
  new_test
  ok "a test is begun" begin "${3:-}"
  eventually $((${LIMIT_MS:-120000} / 1000 + 30)) "it ends" has_ended
  is "$(result .verdict -r)" "$1" "$2"
}

# fails_for REASON WHAT [MORE]
fails_for() {
  tested failed "it fails: $2" "${3:-}"
  ok "for the right reason" result ".why | test(\"$1\")"
  echo "# $(result .why -r)"
  eventually 10 "nothing remains" nothing_remains
}

# What tests have made on beta, by name.
remains() {
  lab exec beta sh -c 'virsh list --all --name | grep understudy-test
    ls -d /var/lib/understudy/images/understudy-test-* /run/understudy/engine/test/* /run/understudy/engine/nbd/*-vnc \
      /run/understudy/engine/nbd/*-console 2>/dev/null
    ip -o link | grep -o " us[0-9a-f]*-[0-9]"
    grep -o "/[^ ]*understudy-test-[^ ]*" /proc/mounts
    pgrep -f "[d]nsmasq.*interface=v0" || true'
}

nothing_remains() {
  local left
  left=$(remains)
  [[ -z $left ]] || { echo "$left" && return 1; }
}
