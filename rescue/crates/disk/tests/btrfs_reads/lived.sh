#!/bin/bash
# A btrfs that lives some sessions, ended in order or cut off: lived.sh SEED FOLDER DEVICES [options of mkfs.btrfs]. After each session a copy of
# each of its devices is left, as FOLDER/STATE.DEVICE. Needs root, loop devices, a kernel with btrfs, and btrfs-progs.
set -eu
RANDOM=$1
folder=$2
count=$3
shift 3
at=$folder/at
mkdir -p "$at"
loops=()
trap 'umount "$at" 2>/dev/null || true; for l in "${loops[@]}"; do losetup -d "$l" 2>/dev/null || true; done' EXIT

files=()
for n in $(seq "$count"); do files+=("$folder/device.$n"); truncate -s 200M "$folder/device.$n"; done
mkfs.btrfs -q -f "$@" "${files[@]}" > /dev/null 2>&1

attach() {
    loops=()
    for file in "${files[@]}"; do loops+=("$(losetup --find --show "$file")"); done
    btrfs device scan "${loops[@]}" > /dev/null
    mount "${loops[0]}" "$at"
}
detach() {
    umount "$at"
    btrfs device scan --forget "${loops[@]}" > /dev/null 2>&1 || true
    for loop in "${loops[@]}"; do losetup -d "$loop"; done
    loops=()
}
keep() { for n in $(seq "$count"); do cp --sparse=always "$folder/device.$n" "$folder/$1.$n"; done; }
noise() { openssl enc -aes-128-ctr -K "$(printf '%032x' "$RANDOM$RANDOM")" -iv 0 -in /dev/zero 2>/dev/null | head -c "$1" || true; }
any() { find "$at/tree" -type f | sort | shuf -n 1 --random-source=<(yes "$RANDOM"); }

# What comes to nothing because there is no room does no harm.
act() {
    local file; file=$(any)
    case $((RANDOM % 13)) in
        0|1|2) noise $((RANDOM * 40 + 1)) > "$at/tree/$RANDOM" ;;
        3|4) noise $((RANDOM + 1)) | dd of="$file" bs=1 seek=$((RANDOM * 3)) conv=notrunc status=none iflag=fullblock obs=64K ;;
        5) noise $((RANDOM + 1)) >> "$file" ;;
        6) rm -f "$file"; : > "$at/tree/kept" ;;
        7) cp --reflink=always "$file" "$at/tree/copy-$RANDOM" 2>/dev/null || true ;;
        8) fallocate -l $((RANDOM * 20 + 1)) "$at/tree/allocated"; noise 9000 | dd of="$at/tree/allocated" bs=4096 seek=$((RANDOM % 40)) conv=notrunc status=none ;;
        9) touch "$at/tree/in-place"; chattr +C "$at/tree/in-place" 2>/dev/null || true; noise $((RANDOM + 1)) | dd of="$at/tree/in-place" bs=4096 seek=$((RANDOM % 30)) conv=notrunc status=none ;;
        10) btrfs subvolume snapshot "$at/tree" "$at/saved-$RANDOM" > /dev/null 2>&1 || true ;;
        11) local old; old=$(find "$at" -maxdepth 1 -name 'saved-*' | sort | head -1); [ -z "$old" ] || btrfs subvolume delete -c "$old" > /dev/null ;;
        12) fallocate -p -o 4096 -l $((RANDOM + 1)) "$file" || true; sync -f "$at" ;;
    esac
}

attach
btrfs subvolume create "$at/tree" > /dev/null
for n in $(seq 20); do noise $((n * 30000)) > "$at/tree/first-$n"; done
: > "$at/tree/kept"
detach
keep 0
for state in 1 2 3 4 5; do
    attach
    for n in $(seq $((5 + RANDOM % 25))); do act || true; done
    [ $((RANDOM % 5)) != 0 ] || btrfs balance start -f -dlimit=1 -mlimit=1 "$at" > /dev/null 2>&1 || true
    if [ $((RANDOM % 2)) = 0 ]; then
        detach
    else
        sync -f "$at"
        for n in $(seq 6); do act || true; done
        [ $((RANDOM % 2)) = 0 ] || python3 -c 'import os,sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))' "$(any)"
        for file in "${files[@]}"; do cp --sparse=always "$file" "$file.cut"; done
        detach
        for file in "${files[@]}"; do mv "$file.cut" "$file"; done
    fi
    keep "$state"
done
