# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib - what every figure shares: a lab of its own, a driver in the controller's
# place, and one line of JSON at the end.
#
#   . "$(dirname "$0")/lib.sh"
#   bench_lab
#   for_pairs one_of_ours one_of_theirs   # A B A B, prints as it goes on standard error
#   figure "$(ratio_of_medians A B)" ratio "$(spread A B)"
#
# A figure is a script NAME.bench; `run` starts it with BENCH_PAIRS set.
set -euo pipefail

BENCH_NAME=$(basename "$0" .bench)
BENCH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BENCH_PAIRS=${BENCH_PAIRS:-5}
BENCH_LAB=bench-${BENCH_NAME//_/-}-$$
TEST_TMP=$(mktemp -d "${TMPDIR:-/var/tmp}/understudy-bench.XXXXXX")
export UNDERSTUDY_LAB_BIN=${UNDERSTUDY_LAB_BIN:-$BENCH_ROOT/build/release}

# shellcheck source-path=SCRIPTDIR source=../lab/drive.sh
. "$BENCH_ROOT/tests/lab/drive.sh"

lab() {
  "$BENCH_ROOT/examples/lab/lab" --name "$BENCH_LAB" "$@"
}

note() {
  echo "# $BENCH_NAME: $*" >&2
}

# What a host of the lab sees as $2 is this file of the machine: host_file HOST run/…
host_file() {
  echo "/var/lib/understudy-lab/$BENCH_LAB/hosts/$1/$2"
}

resident_mib() {
  status_mib "$1" "$(cat "$(host_file "$1" run/lab/"$2".pid)")"
}

# Of the only storage daemon on HOST.
storage_mib() {
  status_mib "$1" "$(lab exec "$1" pgrep -f '^qemu-storage-daemon')"
}

bench_lab() {
  lab up --hosts alpha,beta --controller none >&2
  enrol alpha
  enrol beta
}

bench_end() {
  local status=$?
  trap - EXIT
  [[ ! -d /var/lib/understudy-lab/$BENCH_LAB ]] || lab down >&2
  rm -rf "$TEST_TMP"
  ((status == 0)) || note "no figure: a step failed with status $status"
  exit "$status"
}
trap bench_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# eventually SECONDS CMD…
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { note "never true: $*" && return 1; }
    sleep 0.05
  done
}

now_ms() {
  echo $((${EPOCHREALTIME/./} / 1000))
}

# Milliseconds of an instant as status and points give it.
instant_ms() {
  date -d "$1" +%s%3N
}

# for_pairs A B: run both in turn; each prints one number, kept in A and B of $TEST_TMP.
# A first pair, which only warms caches, is thrown away.
for_pairs() {
  local i one
  for one in "$1" "$2"; do "$one" >/dev/null; done
  for ((i = 1; i <= BENCH_PAIRS; i++)); do
    for one in "$1" "$2"; do "$one" >>"$TEST_TMP/$one"; done
    note "pair $i: $1 $(tail -1 "$TEST_TMP/$1"), $2 $(tail -1 "$TEST_TMP/$2")"
  done
}

# cycles_of VM N: how long each of N of the next cycles took that sealed a generation. Asked
# seldom: the asking alone takes a tenth of a second of a core, from what is measured.
cycles_of() {
  local vm=$1 left=$2 status sequence last
  last=$(tip_sequence beta "$vm")
  # The first after a change of pace is not counted.
  last=$((last + 1))
  while ((left > 0)); do
    status=$(active_status alpha "$vm")
    sequence=$(jq '.standbys[0].tip.sequence // 0' <<<"$status")
    ((sequence > last)) || { sleep 0.7 && continue; }
    last=$sequence
    jq .cycle_ms <<<"$status"
    ((--left)) || true
  done
}

# is_merging HOST VM: the ledger of the copy there says at which step of a merge it is.
is_merging() {
  local last
  last=$(grep -aoE '"record":"(withdrawn|flushed|switched|removed)"' \
    "$(host_file "$1" understudy)/images/$2/ledger" | tail -1)
  [[ -n $last && $last != *removed* ]]
}

# summary FILE: {"median", "min", "max", "n"} of the numbers in it.
summary() {
  jq -sc 'sort | {median: (if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2] + .[length / 2 - 1]) / 2 end),
    min: first, max: last, n: length}' "$1"
}

# pair_ratios A B: each pair's A / B.
pair_ratios() {
  paste "$TEST_TMP/$1" "$TEST_TMP/$2" | awk '{ printf "%.4g\n", $1 / $2 }'
}

# compare A B UNIT [JSON]: the figure is the median of the pairs' A / B.
compare() {
  pair_ratios "$1" "$2" >"$TEST_TMP/ratios"
  figure "$(summary "$TEST_TMP/ratios" | jq .median)" ratio "$(
    jq -nc --argjson a "$(summary "$TEST_TMP/$1")" --argjson b "$(summary "$TEST_TMP/$2")" --arg unit "$3" \
      --argjson ratio "$(summary "$TEST_TMP/ratios")" --argjson more "${4:-{\}}" \
      "{\"$1\": \$a, \"$2\": \$b, unit: \$unit, ratio: \$ratio} + \$more"
  )"
}

# figure VALUE UNIT DETAIL
figure() {
  jq -nc --arg name "$BENCH_NAME" --argjson value "$1" --arg unit "$2" --argjson detail "$3" \
    --argjson load "$(cut -d' ' -f1 /proc/loadavg)" --argjson cores "$(nproc)" \
    'def digits: if . < 0.01 then 1e6 else 1e3 end;
     {$name, value: (($value | digits) as $d | $value * $d | round / $d), $unit, detail: ($detail + {$load, $cores})}'
}
