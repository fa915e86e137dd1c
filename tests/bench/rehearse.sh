# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# rehearse - what the figures of integrity tests share: guests of alpha with a copy on beta, and a test of some of them.

# replicated_guests N: web1 to webN, in $VMS.
replicated_guests() {
  local i vm
  VMS=()
  for ((i = 1; i <= $1; i++)); do
    lab guest alpha "web$i" --disks 2 --size 256M --memory 128M --rate 5 >&2
    lab agent alpha "web$i" true
    vm=$(uuid_of alpha "web$i")
    admit beta alpha "$vm" "web$i" >/dev/null
    protect alpha beta "$vm" >/dev/null
    eventually 120 sealed_at_least beta "$vm" 3
    VMS+=("$vm")
  done
}

test_has_ended() {
  call beta test.result "{\"test\":\"$TEST\"}" | jq -e '.state == "ended"'
}

# test_of N: of the first N guests, to its end; its result is on standard output.
test_of() {
  local i vms=''
  TEST=$(cat /proc/sys/kernel/random/uuid)
  for ((i = 0; i < $1; i++)); do
    vms+=${vms:+,}"{\"vm\":\"${VMS[i]}\",\"name\":\"web$((i + 1))\"}"
  done
  call beta test.start "{\"test\":\"$TEST\",\"scenario\":\"web\",\"manual\":false,\"limit_ms\":600000,\"boot_ms\":300000,\"vms\":[$vms]}" >/dev/null
  eventually 600 test_has_ended
  call beta test.result "{\"test\":\"$TEST\"}"
  call beta test.forget "{\"test\":\"$TEST\"}" >/dev/null
}

# Processor seconds of all of this machine so far.
cpu_s() {
  awk '/^cpu / { print ($2 + $3 + $4 + $7 + $8) / 100 }' /proc/stat
}
