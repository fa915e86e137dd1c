# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016
# takeover - what the tests of automatic switchover share, after lib.sh, walk.sh and events.sh: guest web1, which one of alpha and beta takes
# over when nobody hears the other, and what each of its frames says about it.
#
# All that a guest does to others is frames, so of a reign that is over no frame may pass once the next one's guest could run. frames.c hears
# each frame beside the host: a host that dies, or stands still, or goes on, does not hide one. The bridge behind a guest's tap is the place where
# its frames count: what the guard holds comes from the tap and never there.
# shellcheck disable=SC2154
COUNTDOWN=12s # and so 7 for a lease
RATE=20

declare -A listeners

other() {
  if [[ $1 == alpha ]]; then echo beta; else echo alpha; fi
}

# --- frames

# Beside the host, in its network. Not within a command's substitution: it ends with the shell that began it.
listen() {
  local holder
  stop_listening "$1"
  read -r holder _ <"$(host_file "$1" holder)"
  nsenter -t "$holder" -n "$UNDERSTUDY_LAB_BIN/tests/lab/frames" "$mac" "$TEST_TMP/$1.frames" >"$TEST_TMP/$1.listens" 2>&1 </dev/null &
  listeners[$1]=$!
  eventually 10 "$1 is listened to" grep -qx listening "$TEST_TMP/$1.listens"
}

# A network lives as long as somebody is in it.
stop_listening() {
  [[ -n ${listeners[$1]:-} ]] || return 0
  kill "${listeners[$1]}" 2>/dev/null
  wait "${listeners[$1]}" 2>/dev/null
  listeners[$1]=
}

crashes() {
  ok "$1 crashes" lab crash "$1"
  stop_listening "$1"
}

boots_again() {
  ok "$1 boots" lab boot "$1"
  listen "$1"
}

# passed HOST [LINK]: the moment of the last frame there, in nanoseconds. Its bridge counts, its taps do so to others.
passed() {
  awk -v link="^${2:-virbr}" '$2 ~ link { at = $1 } END { print at + 0 ? at : 0 }' "$TEST_TMP/$1.frames"
}

# acknowledges HOST SINCE: a record since then, to whoever is outside.
acknowledges() {
  awk -v since="$2" '$1 > since && $2 ~ /^virbr/ && $3 != "-" { n++ } END { exit !n }' "$TEST_TMP/$1.frames"
}

# sends HOST SINCE: a frame since then that came from the guest, whether it has passed or not.
sends() {
  (($(passed "$1" vnet) > $2))
}

# Its guest sends, and what it sends has not passed for a second.
is_held() {
  (($(passed "$1") + 1000000000 < $(passed "$1" vnet)))
}

# Before its process is there no guest of that reign can have run.
begun() {
  stat -c %.9Y "$(host_file "$1" run/libvirt/qemu/web1.pid)" | tr -d .
}

# kept_apart WHAT: what ran on $from has had no effect since there was a guest on $to.
kept_apart() {
  local last next
  last=$(passed "$from") next=$(begun "$to")
  echo "# $1: the last frame on $from passed $(((next - last) / 1000000)) ms before the guest of $to"
  holds "nothing of $from since $to has a guest, $1" "$last > 0 && $last < $next"
}

# --- what is asked

# armed HOST: it would be taken over from there by itself.
armed() {
  status web '.state == "running" and .active == "'"$1"'" and .plan == null and .countdown_s == null and .automatic.armed
    and (.vms[0] | .state == "protected" and .guest == "alive")'
}

unarmed() {
  status web '.automatic.armed == false and (.automatic.why | test("'"$1"'"))'
}

# tells CODE: since the mark.
tells() {
  events "^$1\$" | grep -q .
}

plans() {
  us plan list --json | jq '.plans | length'
}

# How often a guest of HOST was asked to stop for want of a lease.
stops() {
  grep -c "its lease ends" "$(host_file "$1" log/engine.log)"
}

in_state() {
  [[ $(lab exec "$1" virsh domstate web1 | head -1) == "$2" ]]
}

# Its QEMU, in the kernel's letters.
process_is() {
  # shellcheck disable=SC2016
  lab exec "$1" sh -c 'grep -q "^State:.$0" "/proc/$(cat /run/libvirt/qemu/web1.pid)/status"' "$2"
}

runs_nothing() {
  in_state "$1" paused || process_is "$1" T || ! process_is "$1" '[RSD]'
}

# --- what happens

# The controller is started so that it stops at that point.
arm_controller() {
  rm -f "$TEST_TMP/stopped"
  lab kill gamma controller
  UNDERSTUDY_STOP_AT=$1 UNDERSTUDY_STOP_FILE=$TEST_TMP/stopped lab boot gamma >/dev/null
}

# rules HOST: all is well there, and its frames are heard. What comes next is compared with that.
rules() {
  from=$1 to=$(other "$1")
  eventually 120 "$from is the active, and would be taken over" armed "$from"
  since_ns=$(date +%s%N) plans_before=$(plans) stops_before=$(stops "$from")
  eventually 20 "its guest's records are heard there" acknowledges "$from" "$since_ns"
  mark
}

# $to has taken over: its guest runs.
takes_over() {
  eventually 90 "$to takes over" status web '.active == "'"$to"'"'
  since_ns=$(begun "$to")
  kept_apart "when it was taken over"
  eventually 60 "its guest is heard on $to" acknowledges "$to" "$since_ns"
  is "$(($(plans) - plans_before))" 1 "by one plan"
  kept_apart "and later"
}

# nothing_happens WHAT: nobody was stopped, nothing is switched.
nothing_happens() {
  is "$(plans) $(stops "$from")" "$plans_before $stops_before" "nothing is switched over, and nobody stopped, $1"
  ok "the guest runs on $from, $1" in_state "$from" running
  since_ns=$(date +%s%N)
  eventually 20 "and is heard, $1" acknowledges "$from" "$since_ns"
}

writes_for() {
  lab stamp "$from" web1 --wait $(($(sequence "$from" web1) + $1 * RATE)) --timeout 120
}

outlives_a_lease() {
  ok "the guest of $from writes for longer than a lease lasts" writes_for 10
}

# Whoever is not found silent for so long will not be.
outlives_a_countdown() {
  ok "the guest of $from writes for longer than a countdown" writes_for 16
}

# The guest of $from has lived on, and stands still now.
returns_diverged() {
  eventually 60 "that $from's guest is another is told" eval '[[ -n $(events "^DIVERGED$") ]]'
  ok "it stands still" in_state "$from" paused
  kept_apart "when $from is back"
  ok "its user ends it" lab exec "$from" virsh destroy web1
}

matrix_guest() {
  ok "three hosts" lab up --hosts alpha,beta,gamma
  ok "a guest" lab guest alpha web1 --size 128M --rate "$RATE"
  ok "its agent is there" lab agent alpha web1 true
  mac=$(lab exec alpha virsh domiflist web1 | awk '$3 == "default" {print $5}')
  listen alpha
  listen beta
  ok "a scenario that is switched over automatically" us scenario create web --master alpha --replica beta --vm web1 --interval 1s \
    --countdown "$COUNTDOWN" --probe_interval 1s --switchover auto --trust_clock yes --reverse auto
  ok "it runs" us run web --yes --wait --timeout 60s
}
