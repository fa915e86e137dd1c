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

# Plug HOST in, with the cable it has. What was plugged in under its name before
# is pulled out: the kernel needs a moment to clear up after a host that died.
network_plug() {
  local host=$1 pid rate=none delay=0
  pid=$(space_pid "$(host_dir "$host")")
  network_unplug "$host"
  # The address of a card outlives a reboot: neighbours remember it.
  ip link add name eth0 address "$(host_card "$host")" netns "$pid" type veth \
    peer name "$host" netns "$(space_pid "$LAB_DIR/switch")"
  in_switch ip link set "$host" master lan up
  in_host "$host" sh -e -c "ip addr add $(host_address "$host")/24 dev eth0; ip link set eth0 up"
  if [[ -e $(host_dir "$host")/link ]]; then
    read -r rate delay <"$(host_dir "$host")/link"
    cable_limit "$host" "$rate"
    cable_lengthen "$host" "$delay"
  fi
}

network_unplug() {
  cable_shorten "$1"
  in_switch ip link delete "$1" 2>/dev/null || true
}

# lab cut HOST [HOST] [--one-way]: silence without a lost carrier, as a dead switch would.
network_cut() {
  local a=$1 b='' ways=2
  shift
  host_known "$a"
  [[ -z ${1:-} || $1 == --* ]] || { b=$1 && shift && host_known "$b"; }
  [[ ${1:-} != --one-way ]] || { ways=1 && shift; }
  (($# == 0)) || usage_error "lab cut: unknown option '$1'"
  # shellcheck disable=SC2086
  in_switch nft add rule bridge lab relay iifname "$a" ${b:+oifname "$b"} drop
  # shellcheck disable=SC2086
  ((ways == 1)) || in_switch nft add rule bridge lab relay ${b:+iifname "$b"} oifname "$a" drop
}

network_heal() {
  in_switch nft flush chain bridge lab relay
}

# lab link HOST --rate RATE --delay DELAY: the cable stays so, also after a crash.
network_link() {
  local host=$1 rate=$2 delay=$3
  echo "$rate $delay" >"$(host_dir "$host")/link"
  cable_limit "$host" none
  cable_shorten "$host"
  cable_limit "$host" "$rate"
  cable_lengthen "$host" "$delay"
}

# Both directions, each on the side that sends.
cable_limit() {
  local host=$1 rate=$2
  if [[ $rate == none ]]; then
    in_switch tc qdisc delete dev "$host" root 2>/dev/null
    in_host "$host" tc qdisc delete dev eth0 root 2>/dev/null
    return 0
  fi
  in_switch tc qdisc add dev "$host" root tbf rate "$rate" burst 256kb latency 100ms
  in_host "$host" tc qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 100ms
}

# Between the port and what was plugged into it come a pair of links and a wire
# that takes its time: HOST (the port) = HOST.w ~wire~ HOST.c = eth0.
cable_lengthen() {
  local host=$1 delay=$2
  ((delay > 0)) || return 0
  # shellcheck disable=SC2016
  in_switch sh -e -c '
    ip link set "$0" nomaster down name "$0.c"
    ip link add name "$0" type veth peer name "$0.w"
    ip link set "$0" master lan up
    for link in "$0.c" "$0.w"; do
      echo 1 >"/proc/sys/net/ipv6/conf/$link/disable_ipv6" 2>/dev/null || true
      ip link set "$link" up
    done' "$host"
  # shellcheck disable=SC2016
  in_switch setsid -f sh -c 'echo $$ >"$0"; exec "$@"' "$LAB_DIR/switch/$host.pid" \
    "$(tool_path wire)" "$host.c" "$host.w" "$delay" </dev/null >/dev/null 2>>"$LAB_DIR/switch/wires.log"
}

cable_shorten() {
  local host=$1
  [[ -e $LAB_DIR/switch/$host.pid ]] || return 0
  in_switch kill -KILL "$(cat "$LAB_DIR/switch/$host.pid")" 2>/dev/null
  rm -f "$LAB_DIR/switch/$host.pid"
  in_switch ip link delete "$host"
  # The far end is gone already if its host crashed.
  in_switch ip link set "$host.c" down name "$host" 2>/dev/null &&
    in_switch ip link set "$host" master lan up
  return 0
}
