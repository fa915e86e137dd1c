# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib - what every lab test shares: TAP on standard output, a lab of its own.
#
#   . "$(dirname "$0")/lib.sh"
#   lab up --hosts alpha,beta
#   ok "alpha answers" lab exec alpha true
#   is "$(lab exec beta hostname)" beta "beta has its name"
#
# The plan is printed at the end, also after a failure, and the lab is taken
# down: with it goes a report of any sanitizer that one of its daemons wrote,
# which fails the test.
set -uo pipefail

TEST_NAME=$(basename "$0" .test)
TEST_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TEST_COUNT=0
TEST_LAB=test-$TEST_NAME-${UNDERSTUDY_TEST_RUN:-$$}
TEST_TMP=$(mktemp -d "${TMPDIR:-/var/tmp}/understudy-$TEST_NAME.XXXXXX")

lab() {
  "$TEST_ROOT/examples/lab/lab" --name "$TEST_LAB" "$@"
}

# What a host of the lab sees as $2 is this file of the machine: host_file HOST run/…
host_file() {
  echo "/var/lib/understudy-lab/$TEST_LAB/hosts/$1/$2"
}

pass() {
  echo "ok $((++TEST_COUNT)) - $TEST_NAME: $1"
}

fail() {
  echo "not ok $((++TEST_COUNT)) - $TEST_NAME: $1"
  shift
  (($# == 0)) || printf '%s\n' "$@" | sed 's/^/#   /'
}

# ok WHAT CMD…: the command succeeds. What it says is shown if it does not.
ok() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then pass "$what"; else fail "$what" "status $? of: $*" "$said"; fi
}

# exits STATUS WHAT CMD…
exits() {
  local wanted=$1 what=$2 said status=0
  shift 2
  said=$("$@" 2>&1) || status=$?
  if ((status == wanted)); then pass "$what"; else fail "$what" "status $status, not $wanted, of: $*" "$said"; fi
}

# is GOT WANTED WHAT
is() {
  if [[ $1 == "$2" ]]; then pass "$3"; else fail "$3" "got    '$1'" "wanted '$2'"; fi
}

# holds WHAT EXPRESSION: arithmetic, shown with its values if it is false.
holds() {
  if (($2)); then pass "$1"; else fail "$1" "false: $2"; fi
}

# eventually SECONDS WHAT CMD…: the command succeeds within the deadline.
eventually() {
  local end=$((SECONDS + $1)) what=$2 said
  shift 2
  until said=$("$@" 2>&1); do
    if ((SECONDS >= end)); then
      fail "$what" "never true: $*" "$said"
      return 1
    fi
    sleep 0.25
  done
  pass "$what"
}

# start_again HOST VM: one whose QEMU has died, as its user would. If that was while a backup job began, libvirtd 9 has locked itself
# out of the VM, and its calls hang until it is restarted.
start_again() {
  local status=0
  timeout 30 "$TEST_ROOT/examples/lab/lab" --name "$TEST_LAB" exec "$1" virsh start "$2" || status=$?
  ((status == 124)) || return "$status"
  lab kill "$1" libvirtd && lab boot "$1"
  return 1
}

# The same of one that somebody else may have started meanwhile.
runs_or_starts() {
  [[ $(lab exec "$1" virsh domstate "$2" | head -1) == running ]] || start_again "$1" "$2"
}

# deafen HOST VM SECONDS: in a second it stops to hear its agent's and ACPI's orders, for so long.
deafen() {
  lab agent "$1" "$2" sh -c "(sleep 1; kill -STOP \$(pidof acpid qemu-ga); sleep $3; kill -CONT \$(pidof acpid qemu-ga)) >/dev/null 2>&1 &"
}

is_deaf() {
  ! lab exec "$1" virsh qemu-agent-command "$2" --timeout 2 '{"execute":"guest-ping"}'
}

# boots HOST VM: a number that rises with each start of it. runs_anew HOST VM NUMBER: by now it is higher.
boots() {
  lab exec "$1" virsh domid "$2"
}

runs_anew() {
  local now
  now=$(boots "$1" "$2") && [[ $now =~ ^[0-9]+$ ]] && ((now > $3))
}

# starts_anew HOST VM NUMBER: of one whose QEMU has died, which libvirt may not have heard yet.
starts_anew() {
  runs_or_starts "$1" "$2" && runs_anew "$@"
}

# silent HOST: its engine does not answer the controller, which the test's own us() asks.
silent() {
  us host list --json | jq -e '.hosts[] | select(.name == "'"$1"'") | .state != "up"'
}

# Number of the last record that guest $2 acknowledged on host $1.
sequence() {
  lab stamp "$1" "$2" | jq .sequence
}

sanitizer_reports() {
  grep -lsE 'ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:' \
    "/var/lib/understudy-lab/$TEST_LAB"/hosts/*/log/*.log
}

test_end() {
  local status=$? reports
  trap - EXIT
  if [[ -d /var/lib/understudy-lab/$TEST_LAB ]]; then
    if reports=$(sanitizer_reports); then
      # shellcheck disable=SC2086
      fail "no sanitizer complains" "$(grep -hE -A25 'Sanitizer|runtime error:' $reports | head -100)"
    fi
    lab down || fail "the lab comes down"
  fi
  rm -rf "$TEST_TMP"
  ((status == 0)) || fail "the test ran to its end" "it ended with status $status"
  echo "1..$TEST_COUNT"
  exit 0
}
trap test_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
