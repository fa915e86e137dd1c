# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# image - the tiny real guest's boot disk, built once and kept in the cache.
#
# Debian's own cloud kernel, an initramfs of busybox, the virtio modules, the
# guest agent and our record programs; MBR, syslinux and systemd-boot on FAT, for BIOS and UEFI, an
# ext4 partition and a raw one for records (guest/record.h). No mount and no device is needed.

readonly IMAGE_MODULES="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
  failover net_failover virtio_net virtio_console button evdev efivarfs pvpanic pvpanic-mmio llc stp garp mrp 8021q"
readonly IMAGE_BOOT_MIB=31 IMAGE_DATA_MIB=31 IMAGE_RECORDS_MIB=64
readonly IMAGE_CMDLINE="console=ttyS0 quiet loglevel=4 panic=1 mitigations=off nokaslr tsc=reliable no_timer_check"

# Print the path of the boot disk, building it first where the cache lacks it.
image_path() {
  local hash path
  hash=$(cat "$LAB_HERE"/image.sh "$LAB_HERE"/guest/*.[ch] "$LAB_HERE"/guest/etc/* | sha256sum | cut -c1-16)
  path=$LAB_CACHE/guest-$hash.qcow2
  [[ -e $path ]] || image_build "$path" >&2
  echo "$path"
}

image_build() {
  local path=$1 work
  exec {image_lock}>"$LAB_CACHE/image.lock"
  flock "$image_lock"
  if [[ ! -e $path ]]; then
    say "building the guest's image (once; kept in $LAB_CACHE)"
    work=$(mktemp -d "$LAB_CACHE/build.XXXXXX")
    if ! (set -e && cd "$work" && image_make); then
      rm -rf "$work"
      die "the guest's image could not be built"
    fi
    mv "$work/disk.qcow2" "$path"
    rm -rf "$work"
    find "$LAB_CACHE" -maxdepth 1 -name 'guest-*.qcow2' -mtime +7 ! -path "$path" -delete
  fi
  exec {image_lock}>&-
}

# In a work folder: leaves disk.qcow2.
image_make() {
  image_kernel
  image_root
  (cd root && find . | cpio --quiet -o -H newc -R 0:0) | lz4 -l -q -1 >initrd
  image_boot_partition
  mkdir -p empty && mkfs.ext4 -q -F -L data -d empty data.img "${IMAGE_DATA_MIB}M" >/dev/null
  image_disk
}

image_kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  [[ -n $package ]] || die "the package lists have no linux-image-cloud-amd64; run apt-get update"
  apt-get -q download "$package" >/dev/null 2>&1 || die "cannot download the package $package"
  dpkg -x "$package"_*.deb kernel
}

image_root() {
  local module file
  mkdir -p root/{bin,sbin,usr,etc/acpi/PWRF,dev,proc,sys,run,data,tmp,var,modules}
  ln -s ../run root/var/run
  ln -s ../bin root/usr/bin
  ln -s ../sbin root/usr/sbin
  while read -r file; do ln -s /bin/busybox "root/bin/$file"; done < <(busybox --list | grep -vx busybox)
  cp "$(command -v busybox)" root/bin/busybox
  ln -s /bin/busybox root/init
  cp "$LAB_HERE"/guest/etc/* root/etc/
  mv root/etc/shutdown root/sbin/shutdown
  mv root/etc/power-button root/etc/acpi/PWRF/00000080
  cp "$(tool_path writer)" "$(tool_path label)" "$(tool_path churn)" "$(tool_path fill)" root/bin/
  for module in $IMAGE_MODULES; do
    cp "$(find kernel -name "$module.ko")" root/modules/
    echo "$module" >>root/modules/order
  done
  image_agent
}

# qemu-ga and the libraries it names, in the places where it looks for them.
image_agent() {
  local library
  cp "$(command -v qemu-ga)" root/bin/
  while read -r library; do
    mkdir -p "root$(dirname "$library")"
    cp -L "$library" "root$library"
  done < <(ldd "$(command -v qemu-ga)" | grep -o '/[^ ]*')
}

image_boot_partition() {
  mkfs.vfat --invariant -h 2048 -n BOOT -C boot.img $((IMAGE_BOOT_MIB * 1024)) >/dev/null
  printf 'DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  KERNEL vmlinuz\n  APPEND initrd=initrd %s\n' \
    "$IMAGE_CMDLINE" >syslinux.cfg
  mcopy -i boot.img kernel/boot/vmlinuz-* ::vmlinuz
  mcopy -i boot.img initrd syslinux.cfg ::
  syslinux --install boot.img
  printf 'linux /vmlinuz\ninitrd /initrd\noptions %s\n' "$IMAGE_CMDLINE" >linux.conf
  mmd -i boot.img ::EFI ::EFI/BOOT ::loader ::loader/entries
  mcopy -i boot.img /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::EFI/BOOT/BOOTX64.EFI
  mcopy -i boot.img linux.conf ::loader/entries/
}

image_disk() {
  truncate -s 128M disk.raw
  sfdisk -q disk.raw <<EOF
label: dos
start=1MiB, size=${IMAGE_BOOT_MIB}MiB, type=e, bootable
start=$((1 + IMAGE_BOOT_MIB))MiB, size=${IMAGE_DATA_MIB}MiB, type=83
start=${IMAGE_RECORDS_MIB}MiB, size=32MiB, type=da
EOF
  dd if=/usr/lib/syslinux/mbr/mbr.bin of=disk.raw conv=notrunc status=none
  dd if=boot.img of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
  dd if=data.img of=disk.raw bs=1M seek=$((1 + IMAGE_BOOT_MIB)) conv=notrunc,sparse status=none
  qemu-img convert -O qcow2 disk.raw disk.qcow2
}
