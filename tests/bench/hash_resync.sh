# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# hash_resync - what all figures of a comparison share: a running guest whose disk of 4 GiB, or as large as is said, has 1.6 GB of
# data that does not compress, replicated, and a way to make its record of changes be lost.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

DATA_MB=1600
DISK_GIB=${DISK_GIB:-4}

fill_disk() {
  local image=$1 piece=$TEST_TMP/piece i
  for ((i = 0; i < DATA_MB / 100; i++)); do
    head -c 100M /dev/urandom >"$piece"
    qemu-io -f qcow2 -c "write -q -s $piece $((256 + i * DISK_GIB * 32))M 100M" "$image"
  done
  rm "$piece"
}

# compared_since N: the point behind number N that was read since nothing.
compared_since() {
  call beta standby.points "{\"vm\":\"$VM\"}" | jq -ce --argjson n "$1" '[.points[] | select(.sequence > $n and .since == null)][0] // empty'
}

replicated_guest() {
  bench_lab
  MASTER=$(host_file alpha libvirt)/images/big-vda.qcow2
  lab guest alpha big --disks 1 --size "${DISK_GIB}G" --rate 1 --no-start >&2
  note "filling the disk"
  fill_disk "$MASTER"
  VM=$(uuid_of alpha big)
  POLICY=$(jq -c '.compress = "never" | .interval_ms = 5000' <<<"$POLICY")
  lab exec alpha virsh -q start big
  lab stamp alpha big --wait 3 >/dev/null
  admit beta alpha "$VM" big >/dev/null
  protect alpha beta "$VM" "$POLICY" >/dev/null
  eventually 120 sealed_at_least beta "$VM" 1
}

# resync: lose track of the running guest, and wait until the comparison is sealed; prints milliseconds from its cut to its seal.
resync() {
  local before point
  before=$(tip_sequence beta "$VM")
  lab exec alpha sh -c 'virsh checkpoint-list big --name | xargs -n1 virsh -q checkpoint-delete big'
  # Asking often would take a core from both.
  until point=$(compared_since "$before"); do sleep 3; done
  echo $(($(instant_ms "$(jq -r .sealed_at <<<"$point")") - $(instant_ms "$(jq -r .cut_at <<<"$point")")))
}
