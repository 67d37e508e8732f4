#!/bin/bash
# An XFS that lives some sessions, ended in order or cut off: lived.sh SEED FOLDER [options of mkfs.xfs]. After each of them a copy is left, as
# FOLDER/STATE.img, and STATE.cut beside it where it was cut off. Needs root, loop devices, a kernel with XFS, xfsprogs and python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seed=$1
RANDOM=$1
folder=$2
shift 2
at=$folder/at
image=$folder/image
mkdir -p "$at"
trap 'cd /; umount "$at" 2>/dev/null || true' EXIT
# mkfs.xfs makes no file systems below 300 MB but for its own tests.
export TEST_DIR=x TEST_DEV=x QA_CHECK_FS=x
truncate -s 96M "$image"
mkfs.xfs -q -f -d agcount=3 "$@" "$image"
options=(loop loop,lazytime loop,strictatime loop,logbsize=256k)
state=0
keep() {
    cp --sparse=always "$image" "$folder/$state.img"
    state=$((state + 1))
}
mount -o loop "$image" "$at"
python3 "$here/lived.py" "$at" "$seed" first
umount "$at"
keep
for session in 1 2 3 4 5; do
    mount -o "${options[RANDOM % 4]}" "$image" "$at"
    python3 "$here/lived.py" "$at" "$seed$session" some
    if [ $((RANDOM % 4)) = 0 ]; then
        mount -o remount,ro "$at"
        mount -o remount,rw "$at"
        python3 "$here/lived.py" "$at" "$seed$session$session" some
    fi
    # So much that the marks of the mount are written over.
    [ $((RANDOM % 6)) != 0 ] || python3 "$here/lived.py" "$at" "$seed$session" many
    if [ $((RANDOM % 3)) = 0 ]; then
        # Cut off, with data on the disk of which the log knows nothing.
        [ $((RANDOM % 2)) = 0 ] || sync -f "$at"
        python3 "$here/lived.py" "$at" "$seed$session" place
        xfs_io -x -c shutdown "$at"
        umount "$at"
        : > "$folder/$state.cut"
        keep
        if [ $((RANDOM % 2)) = 0 ]; then
            # Somebody only looks: the kernel carries out the log all the same, where it may write to the device.
            device=$(losetup --find --show "$image")
            mount -o ro "$device" "$at"
            umount "$at"
            losetup -d "$device"
            keep
        fi
    else
        umount "$at"
        keep
        [ $((RANDOM % 4)) != 0 ] || xfs_repair "$image" > /dev/null 2>&1
    fi
done
