#!/bin/sh
# Run by mmdebstrap on the new root ($1) before it is closed: what an installed machine has besides its packages.
set -eu
root=$1

echo workstation >"$root/etc/hostname"
printf '127.0.0.1 localhost workstation\n' >"$root/etc/hosts"
printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$ROOT_UUID" >"$root/etc/fstab"
echo 5b0c8f3e5d6a4f0e9c0f8a7b6c5d4e40 >"$root/etc/machine-id"
mkdir -p "$root/home/user" "$root/var/log/journal"
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"

# No service starts while packages are upgraded in the mounted image.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# apt's archive: two packages of five are still there, as on a machine that is cleaned now and then.
cd "$root/var/cache/apt/archives"
ls | grep '\.deb$' | awk 'NR % 5 > 1' | xargs -r rm -f
