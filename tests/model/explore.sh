# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# explore - what the tests of models share: Spin looks at every state that a model reaches, TAP says what came of it.
#
#   . "$(dirname "$0")/explore.sh"
#   holds   "two reigns" -DREIGNS=2             every state seen, every claim true
#   caught  1 "no margin" -DNO_MARGIN           claim 1 is false somewhere, and no other was found false before
#   reached "taken over" -DGOAL=1               a state that must be possible, or, with unreached, must not
#
# A search that was not complete (memory, depth) proves nothing and is a failure. With arguments, regular expressions,
# only what they match is explored; UNDERSTUDY_TRACE=1 then shows the shortest way to what is false. deep() is for a
# long run: twice the memory, and half of it for a state, at half the speed.
set -uo pipefail

# The model of its name: of lease_rules.test it is lease.pml.
MODEL_NAME=$(basename "$0" .test)
MODEL=$(dirname "$(realpath "$0")")/${MODEL_NAME%%_*}.pml
MODEL_TMP=$(mktemp -d "${TMPDIR:-/var/tmp}/understudy-$MODEL_NAME.XXXXXX")
MODEL_COUNT=0
MODEL_BAD=0
MODEL_WANTED=("$@")
MODEL_MB=4000
MODEL_SPEED=-O0 # soon built is soon done, where something is soon found
MODEL_CC= # more for the compiler of the verifier
MODEL_DEPTH=4000000
CLAIM_GOAL=99 # the claim that says "not reachable"

result() {
  local good=$1
  shift
  if ((good)); then
    echo "ok $((++MODEL_COUNT)) - $MODEL_NAME: $1"
  else
    echo "not ok $((++MODEL_COUNT)) - $MODEL_NAME: $1"
    shift
    printf '%s\n' "$@" | sed 's/^/#   /'
    MODEL_BAD=1
  fi
}

is_wanted() {
  local one
  ((${#MODEL_WANTED[@]})) || return 0
  for one in "${MODEL_WANTED[@]}"; do [[ ! $1 =~ $one ]] || return 0; done
  return 1
}

# The verifier's own steps, and what they cost: verify OPTION…
verify() {
  rm -rf "$MODEL_TMP/work"
  mkdir "$MODEL_TMP/work" && cd "$MODEL_TMP/work" || return 1
  cp "$MODEL" model.pml
  # Claims read everything, so that no order of steps may be left out.
  # shellcheck disable=SC2086
  { spin -a "$@" model.pml && cc $MODEL_SPEED -w -DSAFETY -DNOREDUCE -DVECTORSZ=512 "-DMEMLIM=$MODEL_MB" $MODEL_CC -o pan pan.c; } >build.log 2>&1 || return 1
  nice ./pan "-m$MODEL_DEPTH" -w24 >pan.log 2>&1
}

# What verify() found: VERDICT is "complete", "false CLAIM", or why it proves nothing.
explore() {
  local status=0 TIMEFORMAT=%U
  { time (verify "$@"); } 2>"$MODEL_TMP/seconds" || status=$?
  COST=$(awk -v seconds="$(tail -1 "$MODEL_TMP/seconds")" '/states, stored/ { states = $1 }
    END { printf "%s states, %.1f s of a processor", states ? states : "no", seconds }' "$MODEL_TMP/work/pan.log" 2>/dev/null)
  if [[ ! -s $MODEL_TMP/work/pan.log ]]; then
    VERDICT="not built, status $status: $(tail -3 "$MODEL_TMP/work/build.log")"
  elif grep -q 'assertion violated' "$MODEL_TMP/work/pan.log"; then
    VERDICT="false $(grep -m1 -oP 'assertion violated \(+\K[0-9]+(?===0)' "$MODEL_TMP/work/pan.log")"
  elif ((status == 0)) && grep -q 'errors: 0' "$MODEL_TMP/work/pan.log" &&
    ! grep -qE 'not completed|depth too small|MEMLIM|out of memory|truncated' "$MODEL_TMP/work/pan.log"; then
    VERDICT=complete
  else
    VERDICT="not complete, status $status: $(grep -m2 -E 'error|completed|MEMLIM|memory' "$MODEL_TMP/work/pan.log")"
  fi
}

# judge WANTED WHAT OPTION…
judge() {
  local wanted=$1 what=$2 said=()
  shift 2
  is_wanted "$what" || return 0
  explore "$@"
  [[ $VERDICT == "$wanted" || $VERDICT == complete ]] || said=("$(tail -25 "$MODEL_TMP/work/pan.log" 2>&1)")
  [[ ${UNDERSTUDY_TRACE:-0} != 1 || $VERDICT != false* ]] || shortest "$@"
  result $(("$([[ $VERDICT == "$wanted" ]] && echo 1 || echo 0)")) "$what ($COST)" "wanted: $wanted" "found: $VERDICT" "options: $*" "${said[@]}"
}

holds() {
  local MODEL_SPEED=-O2
  judge complete "$@"
}

caught() {
  local claim=$1 rule=$2
  shift 2
  judge "false $claim" "without a rule: $rule" "$@"
}

unreached() {
  local what=$1
  shift
  judge complete "not possible: $what" "$@"
}

reached() {
  local goal=$1
  shift
  judge "false $CLAIM_GOAL" "possible: $goal" "$@"
}

deep() {
  MODEL_MB=7500
  MODEL_CC=-DCOLLAPSE
}

# The shortest way there, step by step, on standard error.
shortest() {
  (MODEL_CC=-DBFS && verify "$@")
  (cd "$MODEL_TMP/work" && spin -t -p -T "$@" model.pml) | grep -E '^ *[0-9]+:' | grep -vE ':init:|\[else\]|\[\(1\)\]|valid end' |
    sed -E 's/^ *[0-9]+:\s*proc +[0-9]+ \((\w+):[0-9]+\) [^:]*:([0-9]+) \(state [0-9]+\)/\1 line \2/' >&2
}

model_end() {
  local status=$?
  trap - EXIT
  rm -rf "$MODEL_TMP"
  ((status == 0)) || result 0 "the test ran to its end" "it ended with status $status"
  echo "1..$MODEL_COUNT"
  exit "$MODEL_BAD"
}
trap model_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

command -v spin >/dev/null || {
  result 0 "spin is there" "the model checker is missing: apt-get install spin (packaging/debian-packages)"
  exit 0
}
