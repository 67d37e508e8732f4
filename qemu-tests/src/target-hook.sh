#!/bin/sh
# Run by mmdebstrap on the new root ($1) before it is packed: a machine that logs in on its serial line, keeps its
# journal, and has packages at hand to install and to upgrade without a network.
set -eu
root=$1

chroot "$root" passwd -q -d root
echo target >"$root/etc/hostname"
printf '127.0.0.1 localhost target\n' >"$root/etc/hosts"
cat >"$root/etc/fstab" <<FSTAB
UUID=$ROOT_UUID / ext4 errors=remount-ro 0 1
UUID=$ESP_ID /boot/efi vfat umask=0077 0 1
UUID=$SWAP_UUID none swap sw 0 0
FSTAB
mkdir -p "$root/boot/efi" "$root/boot/grub" "$root/var/log/journal" "$root/opt/packages/install" "$root/opt/packages/upgrade"
cp "$GRUB_CFG" "$root/boot/grub/grub.cfg"
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer

# A package that is not there yet, to be installed in order.
chroot "$root" sh -c 'cd /opt/packages/install && apt-get -q download hello' >&2

# What the security archive has over the release; where that is nothing, the same versions again: dpkg does the same work.
archives="$root/var/cache/apt/archives"
rm -f "$archives"/*.deb
chroot "$root" apt-get -q -y -o APT::Default-Release= --download-only dist-upgrade >&2
if ! ls "$archives"/*.deb >/dev/null 2>&1; then
    chroot "$root" apt-get -q -y --download-only --reinstall install perl-base libssl3 libc6 apt libsystemd0 >&2
fi
mv "$archives"/*.deb "$root/opt/packages/upgrade/"
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/machine-id
: >"$root/etc/machine-id"
