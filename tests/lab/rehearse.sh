# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# rehearse - what lab tests of integrity tests share, after drive.sh: one is begun on beta, waited for, and leaves nothing but what was there when
# that was remembered.
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
  eventually 30 "nothing remains" nothing_remains
}

# What beta and its engine have, but for the copies: descriptors, threads, VMs, cards, namespaces, mounts, processes and files, by name where
# they have one.
belongings() {
  # Its connection to libvirt stays, once somebody has asked.
  call beta vm.list >/dev/null || return
  lab exec beta sh -c 'engine=/proc/$(cat /run/lab/engine.pid)
    echo "threads: $(ls $engine/task | wc -l)"
    virsh list --all --name
    ip -o link | cut -d: -f2 | sort
    echo "namespaces: $(find /proc/[0-9]*/task/*/ns -type l -printf "%l\n" 2>/dev/null | sort -u | wc -l)"
    grep -v " /var/lib/understudy-lab/" /proc/mounts | sort
    ps -eo comm= | grep -vxE "sh|ps|grep|sort|find|wc|uniq" | sort | uniq -c
    find /run/understudy /run/libvirt/qemu /var/lib/libvirt/qemu /var/lib/libvirt/swtpm /var/lib/understudy ! -path "/var/lib/understudy/images/*/*" 2>/dev/null |
      grep -vx "/run/libvirt/qemu/swtpm\|/var/lib/libvirt/swtpm" | sort # which libvirt makes with the first TPM, and keeps
    readlink $engine/fd/* | sed -E "s/[0-9]+//g; s|/images/.*|/images|" | sort | uniq -c'
}

# remember: what is there now is what is there without a test.
remember() {
  belongings >"$TEST_TMP/before"
}

nothing_remains() {
  diff "$TEST_TMP/before" <(belongings)
}
