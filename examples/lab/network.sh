# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# network - the switch, a port for each host, and what goes wrong with cables.
#
# The switch is a namespace with one bridge. A host's port there has the host's
# name; inside the host it is eth0, 10.77.0.11 for the first and so on.

network_open() {
  mkdir -p "$LAB_DIR/switch"
  space_open "$LAB_DIR/switch" switch "$LAB_DIR/switch"
  in_switch sh -e -c '
    ip link add lan type bridge forward_delay 0
    ip link set lan up
    nft add table bridge lab
    nft add chain bridge lab relay "{ type filter hook forward priority 0; }"'
}

in_switch() {
  space_enter "$LAB_DIR/switch" "$@"
}

# Plug HOST in. What was plugged in under its name before is pulled out: the
# kernel needs a moment to clear up after a host that died.
network_plug() {
  local host=$1 pid
  pid=$(space_pid "$(host_dir "$host")")
  in_switch ip link delete "$host" 2>/dev/null || true
  ip link add name eth0 netns "$pid" type veth \
    peer name "$host" netns "$(space_pid "$LAB_DIR/switch")"
  in_switch ip link set "$host" master lan up
  in_host "$host" sh -e -c "ip addr add $(host_address "$host")/24 dev eth0; ip link set eth0 up"
}

network_unplug() {
  in_switch ip link delete "$1" 2>/dev/null || true
}

# lab cut HOST [HOST]: silence without a lost carrier, as a dead switch would.
network_cut() {
  local a=$1 b=${2:-}
  host_known "$a"
  [[ -z $b ]] || host_known "$b"
  if [[ -n $b ]]; then
    in_switch nft add rule bridge lab relay iifname "$a" oifname "$b" drop
    in_switch nft add rule bridge lab relay iifname "$b" oifname "$a" drop
  else
    in_switch nft add rule bridge lab relay iifname "$a" drop
    in_switch nft add rule bridge lab relay oifname "$a" drop
  fi
}

network_heal() {
  in_switch nft flush chain bridge lab relay
}

# lab link HOST --rate RATE: both directions; "none" takes the limit away.
network_link() {
  local host=$1 rate=$2
  host_known "$host"
  in_switch tc qdisc delete dev "$host" root 2>/dev/null || true
  in_host "$host" tc qdisc delete dev eth0 root 2>/dev/null || true
  [[ $rate != none ]] || return 0
  in_switch tc qdisc add dev "$host" root tbf rate "$rate" burst 256kb latency 100ms
  in_host "$host" tc qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 100ms
}
