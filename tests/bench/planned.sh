# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# planned - there and back in good order under a writing guest, for the figures of such a trip.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

us() {
  lab exec gamma understudy "$@"
}

protected_from() {
  us status web --json | jq -e '.scenarios[0] | .state == "running" and .active == "'"$1"'" and .vms[0].state == "protected"'
}

silent() {
  us host list --json | jq -e '.hosts[] | select(.name == "'"$1"'") | .state != "up"'
}

planned_up() {
  lab up --hosts alpha,beta,gamma >&2
  lab guest alpha web1 --disks 2 --size 512M --rate 50 >&2
  lab agent alpha web1 true >/dev/null
  lab stamp alpha web1 --wait 20 >/dev/null
  us scenario create web --master alpha --replica beta --vm web1 --interval 1s >&2
  us run web --yes --wait --timeout 120s >&2
  planned_from=alpha planned_to=beta
}

# One way, FIGURE of it at the end of FILE: down_ms or synced_bytes.
planned_trip() {
  local plan
  plan=$(us switchover web --to "$planned_to" --reverse --yes --json | jq -r .plan)
  eventually 180 us plan show "$plan" --json >/dev/null
  eventually 180 eval "us plan show $plan --json | jq -e .ended >/dev/null"
  eventually 60 protected_from "$planned_to" >/dev/null
  read -r planned_from planned_to <<<"$planned_to $planned_from"
  jq -n --argjson plan "$(us plan show "$plan" --json)" --argjson status "$(us status web --json)" \
    '{down_ms: $plan.vms[0].down_ms,
      synced_bytes: $status.scenarios[0].vms[0].standbys[0].sync.synced_bytes}'".$1" >>"$2"
  note "to $planned_from: $1 $(tail -1 "$2")"
}
