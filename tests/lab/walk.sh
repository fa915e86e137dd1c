# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# walk - what tests share that stop an engine at its points, one after the other:
# a guest web1 of alpha with a copy on beta, and what makes an engine pass a point.
# $point and $host say where it is, $before is the guest's last record at that time.
# shellcheck disable=SC2154
RETAIN=3 # old points are merged all the time
NEXT='{"number":2,"id":"22222222-2222-4333-8444-555555555555"}'

# chosen SAMPLE WALK…: the numbers, from 0, of those to be walked; all of them with --long. UNDERSTUDY_WALKS, a regular
# expression, says which instead.
chosen() {
  local sample=$1 n start i
  shift
  n=$#
  if [[ -n ${UNDERSTUDY_WALKS:-} ]]; then
    for ((i = 0; i < n; i++)); do [[ ! ${*:i + 1:1} =~ $UNDERSTUDY_WALKS ]] || echo "$i"; done
    return
  fi
  start=$(($(cksum <<<"${UNDERSTUDY_SAMPLE:-$(git -C "$TEST_ROOT" rev-parse HEAD)}" | cut -d' ' -f1) % n))
  if ((${UNDERSTUDY_LONG:-0})); then
    seq 0 $((n - 1))
  else
    for ((i = 0; i < sample; i++)); do echo $(((start + i * n / sample) % n)); done | sort -n
  fi
}

replicated_guest() {
  ok "two hosts" lab up --hosts alpha,beta --controller none
  ok "a guest of two disks" lab guest alpha web1 --size 256M --rate 50
  # An agent that connects while a job is open holds up libvirt, and who waits for it, for 30 s.
  ok "its agent is there" lab agent alpha web1 true
  ok "alpha is enrolled" enrol alpha
  ok "beta is enrolled" enrol beta
  vm=$(uuid_of alpha web1)
  ok "beta keeps a copy" admit beta alpha "$vm" web1
  ok "alpha replicates" protect alpha beta "$vm"
  eventually 90 "generations flow" sealed_at_least beta "$vm" 5
}

# --- what is looked at

is_running() {
  [[ $(lab exec "$1" virsh domstate web1 | head -1) == running ]]
}

# What it had written alone, and is kept aside, may have higher numbers than what comes now.
writes() {
  eventually 60 "the guest writes $2" has_acked "$1" $(($(acked "$1") + 5))
}

acks() {
  host_file "$1" "acks/$(cat "/var/lib/understudy-lab/$TEST_LAB/guests/web1/uuid")"
}

acked() {
  wc -l <"$(acks "$1")"
}

has_acked() {
  (($(acked "$1") >= $2))
}

# went_on HERE THERE [BEFORE]: the guest counts on from what it finds on its disks, so the first record
# that was heard HERE, after BEFORE of former stays, comes after the last one heard THERE, if none of those is missing.
went_on() {
  local first
  read -r first _ < <(tail -n +$((${3:-0} + 1)) "$(acks "$1")")
  holds "no record that was acknowledged is missing" "10#$first > $(sequence "$2" web1)"
}

# held_by HOST ID: the last record in a point there, as a user would read it: it is offered for reading, and copied out.
held_by() {
  local uris i
  mapfile -t uris < <(us branch open "$2" --json | jq -r '.points[0].disks[].uri')
  for i in 0 1; do
    lab exec "$1" qemu-img convert -O qcow2 "${uris[i]}" "/var/lib/understudy/out$i.qcow2" || return
  done
  lab check "$1" web1 /var/lib/understudy/out{0,1}.qcow2 | jq .last
  lab exec "$1" rm /var/lib/understudy/out{0,1}.qcow2
}

# --- two guests at once

# computed HOST: what web1 has computed there so far by its processor's own thread, in $ns: one that stands still computes nothing.
computed() {
  local folder=/var/lib/understudy-lab/$TEST_LAB/hosts/$1 holder pid='' task name
  # A line that libvirt does not end.
  { read -r holder _ <"$folder/holder" && read -r pid <"$folder/run/libvirt/qemu/web1.pid"; } 2>/dev/null
  [[ -n $pid ]] || return
  for task in "/proc/$holder/root/proc/$pid/task/"*; do
    { read -r name <"$task/comm"; } 2>/dev/null && [[ $name == CPU* ]] && { read -r ns _ <"$task/schedstat"; } 2>/dev/null && return
  done
  return 1
}

# How many of the two have computed since the last look.
count_computing() {
  local host ns
  computing=0
  for host in alpha beta; do
    computed "$host" || ns=0
    ((!former[$host] || ns < former[$host] + 1000000)) || ((++computing))
    former[$host]=$ns
  done
}

# Who computes before a look and after it runs at that moment, which is written down; what is over within half a second may not be seen.
# No program is started: a look costs a millisecond.
look_for_two() {
  local never computing before=''
  local -A former=([alpha]=0 [beta]=0)
  exec {never}<>"$TEST_TMP/never"
  echo "$BASHPID" >"$TEST_TMP/watcher"
  while [[ -p $TEST_TMP/never ]]; do
    count_computing
    ((!computing)) || : >"$TEST_TMP/seen"
    if ((computing == 2)); then
      [[ -z $before ]] || echo "$before" >>"$TEST_TMP/two"
      before=${EPOCHREALTIME/[.,]/}
    else
      before=''
    fi
    read -rt 0.25 -u "$never"
  done
}

# From now on and until the test ends, whatever happens: nobody's child, since some wait for all of theirs.
watch_for_two() {
  mkfifo "$TEST_TMP/never"
  (look_for_two </dev/null >/dev/null 2>&1 &)
}

# two_since TIME: moments from then on, in microseconds, in which two guests ran.
two_since() {
  awk -v since="$1" '$1 >= since { print "both ran at " $1 / 1000000; two = 1 } END { exit !two }' "$TEST_TMP/two" 2>/dev/null
}

# never_two [TIME]
never_two() {
  [[ -e /proc/$(<"$TEST_TMP/watcher") && -e $TEST_TMP/seen ]] || { echo "nobody watches, or sees not even one" && return 1; }
  ! two_since "${1:-0}"
}

# --- stopping

# The engine of HOST is started so that it will stop at POINT.
arm() {
  rm -f "$TEST_TMP/stopped"
  lab kill "$1" engine 2>/dev/null
  UNDERSTUDY_STOP_AT=$2 UNDERSTUDY_STOP_FILE=$TEST_TMP/stopped lab boot "$1" >/dev/null
}

stopped() {
  [[ -s $TEST_TMP/stopped ]]
}

# In the background: the engine that is asked stops before it answers.
ask() {
  eventually 30 "the engine of $1 listens" call "$1" status
  call "$@" >/dev/null 2>&1 &
}

plan_step() {
  echo "{\"plan\":\"$plan\",\"vm\":\"$vm\"${1:+,$1}}"
}

step() {
  ok "plan: $1" call alpha "plan.$1" "$(plan_step "${2:-}")"
}

new_plan() {
  plan=$(cat /proc/sys/kernel/random/uuid)
}

lock='"deadline_ms":120000'
shutdown='"timeout_ms":60000,"power_off":false'

# --- the walks, each after arm

run_walk() { :; }

# All is compared, and what nobody knows to have changed is sent in many slices: a new order breaks off the present one.
resync_walk() {
  ok "the link is cut" lab cut alpha beta
  ok "24 MiB are new" lab agent alpha web1 fill /dev/vdb 160 24 random
  ok "QEMU is killed" lab kill alpha qemu:web1
  ok "the link is back" lab heal
  eventually 90 "the guest starts again" lab exec alpha virsh start web1
  eventually 90 "it writes" lab stamp alpha web1 --wait $((before + 5))
  eventually 90 "a slice comes to its point" slice_ends
  protect alpha beta "$vm" >/dev/null
}

slice_ends() {
  stopped || { protect alpha beta "$vm" "${POLICY/\"bandwidth_bps\":0/\"bandwidth_bps\":2000000}" && sleep 1 && false; }
}

# A stopped guest's generation: its engine has just started and must look.
off_walk() {
  lab kill alpha engine
  ok "the guest is shut down" lab exec alpha virsh shutdown web1
  eventually 60 "it is off" lab exec alpha sh -c 'virsh domstate web1 | grep -q "shut off"'
  arm alpha "$point"
}

lock_walk() { new_plan && ask alpha plan.lock "$(plan_step "$lock")"; }
until_shut() { lock_walk && wait && step shutdown "$shutdown"; }
shutdown_walk() { lock_walk && wait && ask alpha plan.shutdown "$(plan_step "$shutdown")"; }
final_walk() { until_shut && ask alpha plan.final "$(plan_step)"; }
rollback_walk() { until_shut && ask alpha plan.rollback "$(plan_step)"; }

# Once: after it the plan goes on where it was.
hand_over() {
  [[ -z ${released:-} ]] || return 0
  released=yes
  until_shut
  last=$(sequence alpha web1)
  step final
  order="\"successor\":{\"id\":\"$(cat "$TEST_TMP/beta.id")\"},\"reign_next\":$NEXT"
}

release_walk() {
  hand_over
  ask alpha plan.release "$(plan_step "$order")"
}

promotion() {
  local state
  state=$(call alpha plan.state "$(plan_step)")
  plan_step "\"tip\":$(jq .tip <<<"$state"),\"reign_next\":$NEXT,\"certificate\":$(jq .certificate <<<"$state")"
}

promote_walk() {
  [[ -n ${released:-} ]] || { hand_over && step release "$order"; }
  ask beta plan.promote "$(promotion)"
}
