# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# maintenance - what tests of a host's maintenance share, after lib.sh and events.sh: a scenario of db1 and web1, which starts after it, from
# alpha to beta.
# shellcheck disable=SC2034,SC2154
MAINTENANCE='^(MAINTENANCE|SWITCHOVER|HOST|LINK|PROBE|COUNTDOWN|LAG|GUEST|RESYNC|VM)_'

# expected CODE…: of what counts, exactly this was told since the mark.
expected() {
  [[ $(events "$MAINTENANCE" | xargs) == "$*" ]]
}

# told CODE: it was, since the mark.
told() {
  events "^$1\$" | grep -q .
}

# maintained HOST EXPRESSION: of its newest.
maintained() {
  us maintenance list --json | jq -e --arg host "$1" '.maintenances[] | select(.host == $host) | '"$2"
}

well() {
  status web '.state == "running" and .active == "alpha" and (.vms | all(.state == "protected" and .guest == "alive"))'
}

equal() {
  ok "both copies are what the disks are" us compare web --wait --timeout 120s
}

heard() {
  ! silent "$1"
}

are_off() {
  [[ -z $(lab exec alpha virsh list --name) ]]
}

all_run() {
  (($(lab exec alpha virsh list --name --state-running | grep -c .) == 2))
}

one_is_off() {
  (($(lab exec alpha virsh list --name | grep -c .) < 2))
}

image() {
  lab exec alpha virsh domblklist "$1" --details | awk '$2 == "disk" {print $4}' | sed -n "$2p"
}

last() {
  lab stamp alpha "$1" | jq .sequence
}

goes_on() {
  eventually 60 "$1 writes again" lab stamp alpha "$1" --wait $(($(last "$1") + 5))
}

READY='MAINTENANCE_STARTED MAINTENANCE_READY MAINTENANCE_READY'


maintenance_up() {
  ok "three hosts" lab up --hosts alpha,beta,gamma
  for guest in db1 web1; do
    ok "a guest" lab guest alpha $guest --size 256M --rate 20
    ok "its agent is there" lab agent alpha $guest true
  done
  is "$(us maintenance list --json | jq -c .maintenances)" '[]' "nothing is in maintenance"
  ok "a scenario" us scenario create web --master alpha --replica beta --vm web1 --vm db1 --interval 1s
  ok "web1 starts after db1" us scenario set web --vm web1 --after db1
  ok "it runs" us run web --yes --wait --timeout 90s
  eventually 60 "all is well" well
}
