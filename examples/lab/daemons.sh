# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# daemons - what runs on every host: receiver, libvirt, guard, engine.

# Print the build's folders as a piece of PATH.
bin_path() {
  local bin=/nonexistent
  [[ ! -s $LAB_DIR/bin ]] || bin=$(<"$LAB_DIR/bin")
  echo "$bin/vmconnect:$bin/orchestrator:$bin/orchestrator/cli:$bin"
}

# Print the newest build of this checkout, nothing if there is none.
bin_newest() {
  local newest
  newest=$(find "$LAB_HERE/../../build" -maxdepth 3 -path '*/vmconnect/understudy-engine' -printf '%T@ %p\n' 2>/dev/null |
    sort -n | tail -1 | cut -d' ' -f2-)
  [[ -z $newest ]] || realpath "${newest%/vmconnect/understudy-engine}"
}

# Start a program in HOST as daemon NAME: its number in /run/lab/NAME.pid, what
# it says in log/NAME.log.
daemon_spawn() {
  local host=$1 name=$2
  shift 2
  # shellcheck disable=SC2016
  in_host "$host" setsid -f sh -c 'echo $$ >"/run/lab/$0.pid"; log=$1; shift; exec "$@" </dev/null >>"$log" 2>&1' \
    "$name" "$(host_dir "$host")/log/$name.log" "$@"
}

daemon_runs() {
  process_pid "$1" "$2" >/dev/null
}

receiver_start() {
  daemon_runs "$1" receiver || daemon_spawn "$1" receiver "$(tool_path receiver)" "$(host_dir "$1")/acks"
}

# Fast by default: with Debian's own settings libvirt finds /dev/kvm unusable for
# QEMU's user and probes QEMU again at every start.
libvirt_configure() {
  local host=$1 stock=$2 folder cache
  folder=$(host_dir "$host")
  install -d -m 0711 "$folder"/libvirt "$folder"/libvirt/{boot,images}
  install -d -m 0750 -o libvirt-qemu -g libvirt-qemu "$folder"/libvirt/qemu{,/channel,/channel/target}
  cp -a /etc/libvirt/*.conf /etc/libvirt/nwfilter "$folder/etc/libvirt/"
  mkdir -p "$folder/etc/libvirt/qemu/networks/autostart"
  network_definition >"$folder/etc/libvirt/qemu/networks/default.xml"
  ln -s /etc/libvirt/qemu/networks/default.xml "$folder/etc/libvirt/qemu/networks/autostart/default.xml"
  # One machine has one UUID in its firmware, and libvirt does not migrate a
  # guest to where it already is.
  printf '%s\n' "host_uuid = \"$(host_uuid "$host")\"" 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' \
    'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"' >"$folder/etc/libvirt/libvirtd.conf"
  cache=$LAB_CACHE/libvirt-stock
  if [[ $stock == no ]]; then
    cache=$LAB_CACHE/libvirt
    printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'stdio_handler = "file"' \
      'namespaces = []' >"$folder/etc/libvirt/qemu.conf"
  fi
  mkdir -p "$cache"
  rmdir "$folder/cache"
  ln -s "$cache" "$folder/cache"
}

# dnsmasq need not ask for three seconds whether an address is free.
network_definition() {
  cat <<'EOF'
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <uuid>5a3c8a0e-1f0b-4c55-9d2e-0d6c3a5f7b10</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
EOF
}

libvirt_start() {
  local host=$1 folder hook
  folder=$(host_dir "$host")
  # libvirtd looks for hooks when it starts.
  hook=$(cat "$LAB_DIR/bin" 2>/dev/null)/vmconnect/hypervisor/understudy-start-hook
  [[ ! -x $hook ]] || install -m 0755 "$hook" "$folder/etc/libvirt/hooks/qemu.d/understudy"
  daemon_runs "$host" virtlogd || in_host "$host" virtlogd -d
  # What it starts as other users (swtpm_setup) could not enter a $TMPDIR of root's.
  daemon_runs "$host" libvirtd || in_host "$host" env -u TMPDIR libvirtd -d ||
    die "libvirtd of $host does not start: $(tail -3 "$folder/log/libvirt/libvirtd.log")"
}

# The default network is the last thing a host brings up.
libvirt_wait() {
  wait_until 90 test -s "$(host_dir "$1")/run/libvirt/network/default.pid" ||
    die "libvirtd of $1 does not come up: $(tail -3 "$(host_dir "$1")/log/libvirt/libvirtd.log")"
}

# The folders of the systemd unit, whose parents QEMU's user may enter.
daemon_folders() {
  local folder
  folder=$(host_dir "$1")
  install -d -m 0755 "$folder/run/understudy" "$folder/run/understudy/$2"
  install -d -m 0700 "$folder/understudy/$2"
}

clock_library() {
  echo /usr/lib/*/faketime/libfaketimeMT.so.1
}

# It speaks to nobody by itself.
guard_start() {
  local host=$1 program
  program=$(cat "$LAB_DIR/bin" 2>/dev/null)/vmconnect/understudy-guard
  [[ ! -x $program ]] || daemon_runs "$host" guard || daemon_spawn "$host" guard "$program"
}

# Everything of the engine is its own: an empty file means all defaults. engine_start HOST [CLOCK]
engine_start() {
  local host=$1 off=${2:-} program clock=()
  program=$(cat "$LAB_DIR/bin" 2>/dev/null)/vmconnect/understudy-engine
  [[ -z $off ]] || clock=(env "LD_PRELOAD=$(clock_library)" "FAKETIME=$off" NO_FAKE_STAT=1 DONT_FAKE_MONOTONIC=1)
  [[ -x $program ]] || return 0
  daemon_folders "$host" engine
  touch "$(host_dir "$host")/etc/understudy/engine.conf"
  daemon_runs "$host" engine ||
    daemon_spawn "$host" engine "${clock[@]}" "$program" --config /etc/understudy/engine.conf
}
