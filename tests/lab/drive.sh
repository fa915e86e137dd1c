# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# drive - what lab tests below the controller share: a driver in its place.
DRIVE=$UNDERSTUDY_LAB_BIN/tests/lab/drive
REIGN='{"number":1,"id":"11111111-2222-4333-8444-555555555555"}'
NETWORKS_ALIKE='{"default":"default"}'
POLICY='{"interval_ms":1000,"scratch_bytes":1073741824,"bandwidth_bps":0,"compress":"auto","freeze":"never"}'

uuid_of() {
  lab exec "$1" virsh domuuid "$2" | sed -n 1p
}

# enrol HOST: its id is kept in $TEST_TMP/HOST.id
enrol() {
  local token
  token=$(lab exec "$1" cat /run/understudy/engine/token) || return 1
  lab exec "$1" "$DRIVE" "$TEST_TMP/controller" enrol 127.0.0.1:25000 "$token" >"$TEST_TMP/$1.id"
}

# call HOST METHOD [JSON [CONTROLLER]]
call() {
  local params=${3:-}
  [[ -n $params ]] || params='{}'
  lab exec "$1" "$DRIVE" "$TEST_TMP/${4:-controller}" call 127.0.0.1:25000 "$2" "$params"
}

# admit STANDBY ACTIVE VM NAME
admit() {
  call "$1" standby.admit "{\"scenario\":\"web\",\"reign\":$REIGN,\"vm\":\"$3\",\"name\":\"$4\",
    \"active\":{\"id\":\"$(cat "$TEST_TMP/$2.id")\"},\"networks\":${NETWORKS:-$NETWORKS_ALIKE},
    \"retain\":{\"newest\":${RETAIN:-24},\"hourly\":24}}"
}

# protect ACTIVE STANDBY VM [POLICY]
protect() {
  call "$1" active.protect "{\"scenario\":\"web\",\"reign\":$REIGN,\"vm\":\"$3\",
    \"standby\":{\"id\":\"$(cat "$TEST_TMP/$2.id")\",\"name\":\"$2\",\"addresses\":[\"$2:25000\"]},
    \"policy\":${4:-$POLICY}}"
}

# One VM's status on HOST: as the active, as the standby.
active_status() {
  call "$1" status | jq -e ".active[] | select(.vm == \"$2\")"
}

# What was sent to the standby of alpha's VM $vm to synchronise it.
synced() {
  # shellcheck disable=SC2154
  active_status alpha "$vm" | jq '.standbys[0].sync.synced_bytes'
}

standby_status() {
  call "$1" status | jq -e ".standby[] | select(.vm == \"$2\")"
}

tip_sequence() {
  standby_status "$1" "$2" | jq '.tip.sequence // 0'
}

sealed_at_least() {
  (($(tip_sequence "$1" "$2") >= $3))
}

# The tip of $vm on beta has grown by two since this was first asked; beta's keeper may just have
# started, and know none.
grows() {
  local now first=$TEST_TMP/first
  now=$(tip_sequence beta "$vm") && ((now > 0)) || return 1
  [[ -s $first ]] || echo "$now" >"$first"
  ((now >= $(<"$first") + 2))
}

goes_on() {
  rm -f "$TEST_TMP/first"
  eventually 90 "replication goes on $1" grows
}

# only_first_is_whole VM WHAT: of all its recovery points on beta the first one alone was read as a whole.
only_first_is_whole() {
  is "$(call beta standby.points "{\"vm\":\"$1\"}" | jq '.points | length > 1 and all(.[:-1][]; .since != null)')" true "$2"
}

lag_below() {
  active_status "$1" "$2" | jq -e ".standbys[0].lag_ms != null and .standbys[0].lag_ms < $3"
}

is_paused() {
  active_status "$1" "$2" | jq -e '.state == "paused"'
}

says_why() {
  active_status "$1" "$2" | jq -e '.standbys[0].why != null'
}

# tip_images HOST VM [NUMBER | definition]: the images of the newest sealed generation on HOST, or of
# generation NUMBER, one a disk; or the file of its definition.
tip_images() {
  local ledger=/var/lib/understudy/images/$2
  lab exec "$1" "$UNDERSTUDY_LAB_BIN/tests/lab/tip" "$ledger" "${@:3}"
}

# check_tip HOST VM NAME WHAT: its newest sealed generation is a prefix of the records.
check_tip() {
  ok "the newest sealed generation is a prefix, $4" read_tip "$1" "$2" "$3"
}

# A merge keeps everybody from reading what it is about to change, and removes what nothing names any
# more: an outsider, who has no lease, waits for its end.
read_tip() {
  local images said status end=$((SECONDS + 30))
  while mapfile -t images < <(tip_images "$1" "$2"); do
    status=0
    said=$(lab check "$1" "$3" "${images[@]}" 2>&1) || status=$?
    ((status == 3 && SECONDS < end)) && grep -qE 'Failed to get .* lock|No such file' <<<"$said" || break
    sleep 0.2
  done
  echo "$said"
  return "$status"
}

# status_mib HOST PID: resident memory of a process, numbered as its host does.
status_mib() {
  lab exec "$1" awk '/^VmRSS:/ { printf "%.2f\n", $2 / 1024 }' "/proc/$2/status"
}
