# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# guest_rate - what replication at one interval costs a guest that only writes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

SECONDS_EACH=${BENCH_SECONDS:-15}

# One run of churn in the guest; its latency is kept beside the rate.
churn() {
  lab agent alpha web1 churn --mib 64 --seconds "$SECONDS_EACH" >"$TEST_TMP/churn"
  jq .p99_ms "$TEST_TMP/churn" >>"$TEST_TMP/$1.p99"
  jq .rate "$TEST_TMP/churn"
}

protected() {
  call alpha active.continue "{\"vm\":\"$VM\"}" >/dev/null
  eventually 60 lag_below alpha "$VM" "$INTERVAL"
  churn protected
}

# Nothing is cut while it is paused; the bitmap stays, and is part of "protected" alone,
# so it goes too.
unprotected() {
  call alpha active.stop "{\"vm\":\"$VM\"}" >/dev/null
  churn unprotected
  protect alpha beta "$VM" "$RATE_POLICY" >/dev/null
  eventually 120 lag_below alpha "$VM" "$INTERVAL"
}

# guest_rate INTERVAL_MS DETAIL
guest_rate() {
  INTERVAL=$(($1 * 2))
  RATE_POLICY=$(jq -c ".interval_ms = $1" <<<"$POLICY")
  bench_lab
  # Two hosts do not have one disk between them: what beta writes must not cost alpha's guest.
  lab exec beta mount -t tmpfs -o size=4G,mode=0711 tmpfs /var/lib/understudy/images
  lab guest alpha web1 --disks 2 --size 1G --rate 1 >&2
  lab stamp alpha web1 --wait 3 >/dev/null
  VM=$(uuid_of alpha web1)
  admit beta alpha "$VM" web1 >/dev/null
  protect alpha beta "$VM" "$RATE_POLICY" >/dev/null
  eventually 120 sealed_at_least beta "$VM" 2
  for_pairs protected unprotected
  # Not of the first pair, which is thrown away.
  sed -i 1d "$TEST_TMP"/{protected,unprotected}.p99
  compare protected unprotected writes/s "$(jq -nc --argjson p "$(summary "$TEST_TMP/protected.p99")" \
    --argjson u "$(summary "$TEST_TMP/unprotected.p99")" "$2 + {protected_p99_ms: \$p, unprotected_p99_ms: \$u}")"
}
