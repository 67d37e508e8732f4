#!/bin/bash
# Lives random histories with small file systems, FROM seed TO seed, and leaves in DIR what a machine that is cut off would find: NAME.img,
# with NAME.list and NAME.free of a copy that the kernel recovered. Needs root, loop devices and a kernel with XFS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../shown.sh"
cd "$3"
mnt=$3/mnt
mkdir -p "$mnt"
trap 'cd /; umount "$mnt" 2>/dev/null || true' EXIT
# mkfs.xfs makes no file systems below 300 MB but for its own tests.
export TEST_DIR=x TEST_DEV=x QA_CHECK_FS=x
kinds=(
    ''
    '-b size=1024 -n size=4096 -m rmapbt=1,reflink=1'
    '-m bigtime=1,reflink=1 -i nrext64=1'
    '-b size=2048 -i size=1024 -m reflink=1,rmapbt=1'
    '-s size=4096 -l su=32k'
    '-b size=1024 -m finobt=0,reflink=0,rmapbt=0,inobtcount=0 -i sparse=0'
)
mounts=('' ',logbsize=256k' ',logbsize=64k')
for seed in $(seq "$1" "$2"); do
    truncate -s 64m whole
    # shellcheck disable=SC2086
    mkfs.xfs -q -f -d agcount=3,size=64m ${kinds[$((seed % 6))]} whole
    mount -o "loop${mounts[$((seed % 3))]}" whole "$mnt"
    python3 "$here/live.py" "$mnt" "$seed" 700 "$3/whole" "$3/s$seed"
    # With what is in memory of the log, or without.
    if [ $((seed % 2)) = 0 ]; then xfs_io -x -c 'shutdown -f' "$mnt"; else xfs_io -x -c shutdown "$mnt"; fi
    umount "$mnt"
    mv whole "s$seed.9.img"
    for image in s"$seed".*.img; do
        cp --sparse=always "$image" copy
        mount -o loop copy "$mnt"
        list | sort > "${image%.img}.list"
        umount "$mnt"
        free_runs copy > "${image%.img}.free"
    done
    rm -f copy
done
