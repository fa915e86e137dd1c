# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# hosts - the folder of each host, its boot and its crash.
#
# hosts/NAME/ holds what the host sees as its own /run, /etc/libvirt,
# /etc/understudy, /var/lib/libvirt (libvirt/), /var/lib/understudy
# (understudy/) and /var/log/libvirt (log/libvirt/); acks/ is the receiver's.

host_dir() {
  echo "$LAB_DIR/hosts/$1"
}

host_list() {
  [[ ! -e $LAB_DIR/order ]] || echo "$(<"$LAB_DIR/order")"
}

host_known() {
  [[ -d $LAB_DIR ]] || die "no lab is up in $LAB_DIR (lab up)"
  [[ $'\n'$(host_list)$'\n' == *$'\n'"$1"$'\n'* ]] || usage_error "no host '$1' in this lab, only: $(host_list | xargs)"
}

host_address() {
  cat "$LAB_DIR/hosts/$1/address"
}

# Run a command inside HOST with the build's programs on its PATH.
in_host() {
  local host=$1 folder
  shift
  folder=$(host_dir "$host")
  HOME=$folder/home PATH=$(bin_path):$PATH space_enter "$folder" "$@"
}

host_uuid() {
  local sum
  sum=$(printf '%s/%s' "$LAB_DIR" "$1" | sha256sum)
  echo "${sum:0:8}-${sum:8:4}-4${sum:13:3}-8${sum:17:3}-${sum:20:12}"
}

host_card() {
  host_uuid "$1" | sed -E 's/^(..)(..)(..)(..)-(..).*/02:\1:\2:\3:\4:\5/'
}

# Make the folder of HOST, the NUMBERth of the lab, with ROOM for what is ours.
host_make() {
  local host=$1 number=$2 stock=$3 room=$4 folder
  folder=$(host_dir "$host")
  mkdir -p "$folder"/{run,home,acks,cache,understudy} "$folder"/etc/{libvirt/hooks/qemu.d,understudy} \
    "$folder"/log/libvirt/qemu
  # In memory as on every host: libvirt writes a running guest's state there, durably, several
  # times a backup job.
  mount -t tmpfs -o mode=0755,size=64m tmpfs "$folder/run" || die "cannot mount $folder/run"
  [[ -z $room ]] || host_room "$folder" "$room" || die "cannot give $host a file system of $room"
  chmod 0711 "$folder"/etc "$folder"/log
  chmod 0755 "$folder"/understudy
  echo "10.77.0.$((10 + number))" >"$folder/address"
  echo "$host" >"$folder/etc/hostname"
  host_uuid "$host" | tr -d - >"$folder/etc/machine-id"
  libvirt_configure "$host" "$stock"
}

# A file system of its own for /var/lib/understudy, as big as ROOM: it can be filled, and outlives a crash.
host_room() {
  local device
  truncate -s "$2" "$1/room" && mkfs.ext4 -q -m 0 "$1/room" && mount -o loop "$1/room" "$1/understudy" || return 1
  # What ext4 keeps back for itself would let small files through that other file systems refuse.
  device=$(findmnt -no SOURCE "$1/understudy") && echo 0 >"/sys/fs/ext4/${device#/dev/}/reserved_clusters"
}

# What host_make left outside the folder's own file system. A lab that was ended
# half way has no mounts, or none yet.
host_unmake() {
  local part
  for part in run understudy; do
    ! mountpoint -q "$(host_dir "$1")/$part" || umount "$(host_dir "$1")/$part" || return 1
  done
}

# /etc/hosts is the same everywhere.
hosts_name() {
  local host other
  for host in $(host_list); do
    {
      echo "127.0.0.1 localhost"
      for other in $(host_list); do echo "$(host_address "$other") $other"; done
    } >"$(host_dir "$host")/etc/hosts"
  done
}

# host_boot HOST [CLOCK]: from nothing, or only what does not run.
host_boot() {
  local host=$1 clock=${2:-} folder
  folder=$(host_dir "$host")
  if ! space_is_open "$folder"; then
    mkdir -p "$folder/run/lab"
    cat /proc/sys/kernel/random/uuid >"$folder/boot_id"
    space_open "$folder" host "$folder" "$host"
    network_plug "$host"
  fi
  receiver_start "$host"
  libvirt_start "$host"
  guard_start "$host"
  engine_start "$host" "$clock"
  controller_start "$host"
}

# lab crash HOST: as if the mains had gone, but for the page cache.
host_crash() {
  local host=$1 folder
  folder=$(host_dir "$host")
  space_close "$folder"
  network_unplug "$host"
  find "$folder/run" -mindepth 1 -delete
}
