# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# guests - make one, ask what it acknowledged, check its images, run commands in it.

# Print the UUID of guest NAME of this lab.
guest_uuid() {
  if [[ -e $LAB_DIR/guests/$1/uuid ]]; then echo "$(<"$LAB_DIR/guests/$1/uuid")"; else echo "$1"; fi
}

guest_disk_name() {
  printf 'vd%b' "\\x$(printf %x $((97 + $1)))"
}

# lab guest HOST NAME …
guest_make() {
  local host=$1 name=$2 disks=2 size=1G memory=192M network=default rate=20 format=qcow2 start=yes
  local firmware=bios tpm=no panic=none watchdog=none screen=no
  local options=() uuid i folder
  shift 2
  while (($#)); do
    case $1 in
      --disks) disks=$2 && shift 2 ;;
      --size) size=$2 && shift 2 ;;
      --memory) memory=$2 && shift 2 ;;
      --network) network=$2 && shift 2 ;;
      --rate) rate=$2 && shift 2 ;;
      --churn) options+=("churn=$2") && shift 2 ;;
      --format) format=$2 && shift 2 ;;
      --option) options+=("$2") && shift 2 ;;
      --uefi) firmware=efi && shift ;;
      --tpm) tpm=yes && shift ;;
      --screen) screen=yes && shift ;;
      --panic) panic=$2 && shift 2 ;;
      --watchdog) watchdog=$2 && shift 2 ;;
      --no-start) start=no && shift ;;
      *) usage_error "lab guest: unknown option '$1'" ;;
    esac
  done
  host_known "$host"
  [[ $name != */* ]] || usage_error "a guest's name has no '/'"
  [[ ! -e $LAB_DIR/guests/$name ]] || die "guest '$name' exists already in this lab"
  uuid=$(cat /proc/sys/kernel/random/uuid)
  folder=$(host_dir "$host")/libvirt/images
  for ((i = 0; i < disks; i++)); do
    printf '%s\n' "name=$name" "rate=$rate" "${options[@]}" |
      guest_disk_make "$folder/$name-$(guest_disk_name "$i").$format" "$uuid" "$i" "$disks" "$size" "$format"
  done
  mkdir -p "$LAB_DIR/guests/$name"
  echo "$uuid" >"$LAB_DIR/guests/$name/uuid"
  guest_definition "$name" "$uuid" "$disks" "$memory" "$network" "$format" "$firmware" "$tpm" "$panic" "$watchdog" "$screen" >"$LAB_DIR/guests/$name/definition.xml"
  in_host "$host" virsh -q define "$LAB_DIR/guests/$name/definition.xml" >&2
  [[ $start == no ]] || in_host "$host" virsh -q start -- "$name" >&2
}

# Make an image whose label carries the options on standard input.
guest_disk_make() {
  local path=$1 uuid=$2 disk=$3 disks=$4 size=$5 format=$6 label=$LAB_DIR/label.$$ offset=0
  "$(tool_path label)" "$uuid" "$disk" "$disks" >"$label"
  if ((disk > 0)); then
    qemu-img create -q -f "$format" "$path" "$size"
  elif offset=$((64 << 20)) && [[ $format == qcow2 ]]; then
    cp --reflink=auto "$(image_path)" "$path"
  else
    qemu-img convert -O "$format" "$(image_path)" "$path"
  fi
  ((disk > 0)) || qemu-img resize -q -f "$format" "$path" "$size"
  qemu-io -f "$format" -c "write -q -s $label $offset 4k" "$path"
  rm -f "$label"
}

xml_text() {
  printf '%s' "$1" | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e "s/'/\&apos;/g" -e 's/"/\&quot;/g'
}

# How <os> goes on: which firmware and which variable store is libvirt's choice, as with virt-install.
guest_firmware() {
  case $1 in
    bios) echo ">" ;;
    efi) echo " firmware='efi'><firmware><feature enabled='no' name='secure-boot'/></firmware>" ;;
  esac
}

guest_definition() {
  local name uuid=$2 disks=$3 memory=$4 network=$5 format=$6 firmware=$7 tpm=$8 panic=$9 watchdog=${10} screen=${11} crash=destroy i disk
  name=$(xml_text "$1")
  [[ $panic == none ]] || crash=$panic
  cat <<EOF
<domain type='qemu'>
  <name>$name</name>
  <uuid>$uuid</uuid>
  <memory unit='MiB'>${memory%[Mm]*}</memory>
  <vcpu>1</vcpu>
  <os$(guest_firmware "$firmware")<type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>$crash</on_crash>
  <devices>
EOF
  for ((i = 0; i < disks; i++)); do
    disk=$(guest_disk_name "$i")
    cat <<EOF
    <disk type='file' device='disk'>
      <driver name='qemu' type='$format' discard='unmap'/>
      <source file='/var/lib/libvirt/images/$name-$disk.$format'/>
      <target dev='$disk' bus='virtio'/>
    </disk>
EOF
  done
  cat <<EOF
    <interface type='network'>
      <source network='$network'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><log file='/var/log/libvirt/qemu/$name-console.log' append='on'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='none'/>
EOF
  [[ $screen == no ]] || echo "    <video><model type='vga'/></video><graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>"
  [[ $tpm == no ]] || echo "    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
  [[ $panic == none ]] || echo "    <panic model='isa'/>"
  [[ $watchdog == none ]] || echo "    <watchdog model='i6300esb' action='$watchdog'/>"
  cat <<EOF
  </devices>
</domain>
EOF
}

# lab stamp HOST NAME [--by TIME] [--wait N [--timeout S]]
guest_stamp() {
  local host=$1 name=$2 by='' wanted='' timeout=60 file
  shift 2
  while (($#)); do
    case $1 in
      --by) by=$(date -d "$2" +%s%N) && shift 2 ;;
      --wait) wanted=$2 && shift 2 ;;
      --timeout) timeout=$2 && shift 2 ;;
      *) usage_error "lab stamp: unknown option '$1'" ;;
    esac
  done
  host_known "$host"
  file=$(host_dir "$host")/acks/$(guest_uuid "$name")
  [[ -z $wanted ]] || wait_until "$timeout" stamp_reached "$file" "$wanted" || {
    say "guest '$name' did not acknowledge record $wanted on $host within $timeout s"
    return 7
  }
  if [[ -n $by ]]; then
    awk -v by="$by" '$2 + 0 <= by + 0 { last = $0 } $2 + 0 > by + 0 { exit } END { if (last) print last }' "$file" 2>/dev/null
  else
    tail -n 1 "$file" 2>/dev/null
  fi | stamp_print
}

stamp_reached() {
  local sequence
  read -r sequence _ < <(tail -n 1 "$1" 2>/dev/null) && ((10#$sequence >= $2))
}

stamp_print() {
  local sequence at_ns
  if read -r sequence at_ns _; then
    printf '{"sequence": %d, "at": "%s"}\n' "$((10#$sequence))" \
      "$(date -u -d "@$((10#$at_ns / 1000000000)).${at_ns: -9:3}" +%FT%T.%3NZ)"
  else
    echo '{"sequence": 0, "at": null}'
  fi
}

# lab check HOST NAME IMAGE…: every receiver may have heard the record.
guest_check() {
  local host=$1 name=$2 stamps=() other
  shift 2
  (($#)) || usage_error "lab check: no image given"
  host_known "$host"
  for other in $(host_list); do
    stamps+=(--stamps "$(host_dir "$other")/acks/$(guest_uuid "$name")")
  done
  in_host "$host" "$(tool_path check)" "${stamps[@]}" "$@"
}

agent_answers() {
  in_host "$1" virsh -q qemu-agent-command --timeout 5 -- "$2" '{"execute": "guest-ping"}' >/dev/null 2>&1
}

# lab agent HOST NAME CMD…: run a command in the guest by its agent and print
# what it said; its exit status is ours.
guest_agent() {
  local host=$1 name=$2 request answer pid wait_ms=100
  shift 2
  host_known "$host"
  request=$(for word; do jq -Rs . <<<"$word"; done |
    jq -sc 'map(.[:-1]) | {execute: "guest-exec", arguments: {path: .[0], arg: .[1:], "capture-output": true}}')
  wait_until 60 agent_answers "$host" "$name" || die "the agent of guest '$name' on $host does not answer"
  answer=$(in_host "$host" virsh -q qemu-agent-command -- "$name" "$request") || return 1
  pid=$(jq .return.pid <<<"$answer")
  request="{\"execute\": \"guest-exec-status\", \"arguments\": {\"pid\": $pid}}"
  while answer=$(in_host "$host" virsh -q qemu-agent-command -- "$name" "$request"); do
    if [[ $(jq .return.exited <<<"$answer") == true ]]; then
      jq -r '.return."out-data" // ""' <<<"$answer" | base64 -d
      jq -r '.return."err-data" // ""' <<<"$answer" | base64 -d >&2
      return "$(jq '.return.exitcode // 1' <<<"$answer")"
    fi
    # A look takes a tenth of a second of a core, which what runs long would miss.
    sleep "$((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))"
    ((wait_ms = wait_ms < 1600 ? wait_ms * 5 / 4 : 2000))
  done
  return 1
}
