#!/bin/sh
# Makes the small images that fuzz targets change (bases/*.zst). They are kept, so that an input that was found means the same
# everywhere: made again only where a target needs another one. Needs e2fsprogs, dosfstools, mtools, fdisk, gdisk,
# cryptsetup-bin, grub-common, grub-pc-bin, zstd.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C SOURCE_DATE_EPOCH=1790000000 MTOOLS_SKIP_CHECK=1

keep() {
    zstd -q -f -19 "$1" -o "$here/$2.zst"
}

# A tree with something of each kind in it.
mkdir -p tree/dir tree/deep/er tree/etc tree/many
for i in $(seq 1 12); do echo "file $i" > "tree/dir/file-$i-with-a-longer-name"; done
for i in $(seq 1 120); do : > "tree/many/entry-number-$i-of-an-indexed-directory"; done
head -c 90000 /dev/zero | tr '\0' 'x' > tree/large
for i in 0 4 8 12 16 20 24 28; do printf piece | dd of=tree/holes bs=1024 seek=$i conv=notrunc status=none; done
ln -s dir tree/link
ln -s "$(printf 'x/%.0s' $(seq 1 60))" tree/long
echo "UUID=1 / ext4 defaults 0 1" > tree/etc/fstab

ext() {
    name=$1; size=$2; shift 2
    truncate -s "$size" "$name.img"
    mke2fs -q -F -U 11111111-2222-4333-8444-555555555555 -E hash_seed=11111111-2222-4333-8444-666666666666 \
        -L fuzz -N 256 -d tree "$@" "$name.img"
    case "$name" in
    ext2) ;;
    *)  head -c 20480 /dev/zero | tr '\0' 'j' > data
        : > none
        # A log that was not worked in: two transactions and a revocation, over blocks that are free.
        debugfs -w -f /dev/stdin "$name.img" > out 2>&1 << END
jo
jw -b $(seq -s, 1200 1219) $work/data
jw -r 1201,1202,1400 $work/none
jw -b $(seq -s, 1210 1219) $work/data
jc
END
    ;;
    esac
    keep "$name.img" "$name"
}
ext ext4 8M -t ext4 -b 1024
ext ext4-4k 16M -t ext4 -b 4096 -O ^resize_inode
ext ext4-plain 8M -t ext4 -b 1024 -O ^metadata_csum,^uninit_bg,inline_data
ext ext4-groups 8M -t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode
ext ext4-clusters 8M -t ext4 -b 1024 -O ^metadata_csum,bigalloc -C 4096
ext ext3 8M -t ext3 -b 1024
ext ext2 4M -t ext2 -b 1024

fat() {
    name=$1; size=$2; shift 2
    truncate -s "$size" "$name.img"
    mkfs.vfat -i 12ab34cd -n FUZZ "$@" "$name.img" > out
    mmd -i "$name.img" ::/EFI ::/EFI/BOOT ::/dir
    mcopy -i "$name.img" tree/large ::/large
    mcopy -i "$name.img" tree/etc/fstab "::/a name that is long enough for three entries"
    for i in 1 2 3 4 5 6; do mcopy -i "$name.img" tree/etc/fstab "::/dir/file $i.text"; done
    mcopy -i "$name.img" tree/large ::/EFI/BOOT/BOOTX64.EFI
    mdel -i "$name.img" "::/dir/file 3.text"
    keep "$name.img" "$name"
}
fat fat12 2M -F 12 -s 1
fat fat16 9M -F 16 -s 1
fat fat32 34M -F 32 -s 1

# An EFI system partition that a Debian, another one and a Windows start from, in two states, one behind the other: what is not the first
# Debian's was written anew between, is longer, gone or new.
shared() {
    name=$1; size=$2; shift 2
    for state in then now; do
        image=$name-$state.img
        truncate -s "$size" "$image"
        mkfs.vfat -i 12ab34cd -n FUZZ "$@" "$image" > out
        mmd -i "$image" ::/EFI ::/EFI/BOOT ::/EFI/debian ::/EFI/Microsoft ::/EFI/Microsoft/Boot ::/EFI/Linux ::/EFI/tools ::/loader ::/loader/entries
        printf "search.fs_uuid aaaaaaaa-0000-4000-8000-00000000000a root\n# %s\n" $state > grub.cfg
        mcopy -i "$image" grub.cfg ::/EFI/debian/grub.cfg
        mcopy -i "$image" tree/large ::/EFI/debian/grubx64.efi
        mcopy -i "$image" tree/large ::/EFI/BOOT/BOOTX64.EFI
        for entry in a b; do
            printf "title %s\nlinux /kernel-%s\noptions root=UUID=%s%s\n" $state $entry $entry$entry$entry$entry$entry$entry$entry$entry \
                -0000-4000-8000-00000000000$entry > entry
            mcopy -i "$image" entry "::/loader/entries/entry of $entry.conf"
        done
    done
    head -c 9000 tree/large > program
    mcopy -i "$name-then.img" program ::/EFI/Microsoft/Boot/BCD
    mcopy -i "$name-then.img" program ::/kernel-a
    mcopy -i "$name-then.img" program "::/EFI/tools/a tool with a long name.efi"
    mcopy -i "$name-now.img" tree/large ::/EFI/Microsoft/Boot/BCD
    for i in 1 2 3 4 5 6 7 8 9; do mcopy -i "$name-now.img" program "::/EFI/Microsoft/Boot/bootmgfw number $i.efi"; done
    mcopy -i "$name-now.img" program ::/kernel-b
    mcopy -i "$name-now.img" program ::/EFI/Linux/other-1.efi
    cat "$name-then.img" "$name-now.img" > "$name.img"
    keep "$name.img" "$name"
}
shared esp12 2M -F 12 -s 1
shared esp32 34M -F 32 -s 1

truncate -s 16M gpt.img
sgdisk -g -U 22222222-0000-4000-8000-000000000001 -n 1:2048:+2M -t 1:ef00 -n 2:8192:+3M -n 3:16384:+1M -t 3:ef02 -n 7:20480:+1M \
    -c 1:esp -c 2:root gpt.img > out
keep gpt.img gpt
truncate -s 16M mbr.img
sfdisk -q mbr.img << END
label: dos
label-id: 0x12345678
start=2048, size=4096, type=83, bootable
start=8192, size=2048, type=82
start=10240, size=20000, type=5
start=11264, size=1024, type=83
start=13312, size=2048, type=83
start=16384, size=1024, type=8e
END
keep mbr.img mbr

# Headers of LUKS, without what their key slots hold: nothing here opens them.
luks() {
    name=$1; kib=$2; shift 2
    truncate -s 20M whole.img "$name.img"
    printf secret | cryptsetup luksFormat -q --uuid 44444444-0000-4000-8000-000000000001 "$@" whole.img -
    dd if=whole.img of="$name.img" bs=1K count="$kib" conv=notrunc status=none
    keep "$name.img" "$name"
    rm whole.img
}
luks luks1 4 --type luks1 --pbkdf pbkdf2 --pbkdf-force-iterations 1000
luks luks2 32 --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000
luks luks2-argon2 32 --type luks2 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-force-iterations 4 --pbkdf-parallel 1 --sector-size 4096

# A machine: ESP, /boot, root, swap; its programs are headers with nothing behind them.
root=aaaaaaaa-0000-4000-8000-000000000001
boot=aaaaaaaa-0000-4000-8000-000000000002
version=6.1.0-9-amd64
mkdir -p m/root/etc m/root/usr/sbin m/root/usr/lib/modules/$version m/root/boot m/root/var/lib/dpkg/updates m/root/var/log/apt m/boot/grub
printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n' > m/root/etc/os-release
printf 'UUID=%s / ext4 errors=remount-ro 0 1\nUUID=%s /boot ext4 defaults 0 2\nUUID=12AB-34CD /boot/efi vfat umask=0077 0 1\nUUID=dddddddd-0000-4000-8000-00000000000d none swap sw 0 0\n' $root $boot > m/root/etc/fstab
echo 0123456789abcdef0123456789abcdef > m/root/etc/machine-id
echo box > m/root/etc/hostname
printf '#!/bin/sh\n' > m/root/usr/sbin/init
echo 'kernel/fs/ext4/ext4.ko:' > m/root/usr/lib/modules/$version/modules.dep
ln -s usr/sbin m/root/sbin; ln -s usr/lib m/root/lib
printf 'Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\n\nPackage: tar\nStatus: install reinstreq half-installed\nVersion: 1.34\n\n' > m/root/var/lib/dpkg/status
printf 'Start-Date: 2026-11-22  21:00:00\nCommandline: apt upgrade\nUpgrade: libc6:amd64 (1, 2)\n' > m/root/var/log/apt/history.log
printf '2026-11-22 21:03:10 status half-installed tar:amd64 1\n' > m/root/var/log/dpkg.log
{ printf 'search.fs_uuid %s root hd0,gpt2\nset prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n' $boot; } > stub.cfg
printf "set default=\"0\"\nmenuentry 'Debian GNU/Linux' --class debian {\n\tset root='hd0,gpt2'\n\tsearch --no-floppy --fs-uuid --set=root %s\n\tlinux\t/vmlinuz-%s root=UUID=%s ro quiet\n\tinitrd\t/initrd.img-%s\n}\n" $boot $version $root $version > m/boot/grub/grub.cfg
# setup header of a bzImage (x86 boot protocol 2.15), an initramfs of cpio, programs of EFI.
head -c 4096 /dev/zero > kernel
printf 'MZ' | dd of=kernel conv=notrunc status=none
printf '\125\252' | dd of=kernel bs=1 seek=510 conv=notrunc status=none
printf 'HdrS\017\002' | dd of=kernel bs=1 seek=514 conv=notrunc status=none
cp kernel m/boot/vmlinuz-$version
echo init | cpio -o -H newc --quiet > m/boot/initrd.img-$version 2> out || :
head -c 1024 /dev/zero > program.efi
printf 'MZ' | dd of=program.efi conv=notrunc status=none
printf '\200' | dd of=program.efi bs=1 seek=60 conv=notrunc status=none
printf 'PE\000\000\144\206\001\000' | dd of=program.efi bs=1 seek=128 conv=notrunc status=none

truncate -s 20M machine.img
sgdisk -g -U 33333333-0000-4000-8000-000000000001 -n 1:2048:+4M -t 1:ef00 -n 2:10240:+4M -n 3:18432:+6M -n 4:30720:+1M -t 4:8200 -n 5:32768:+1M -t 5:ef02 \
    machine.img > out
part() {
    dd if="$1" of=machine.img bs=512 seek="$2" conv=notrunc status=none
}
truncate -s 4M esp.img
mkfs.vfat -F 12 -i 12ab34cd esp.img > out
mmd -i esp.img ::/EFI ::/EFI/debian ::/EFI/BOOT
for f in EFI/debian/shimx64.efi EFI/debian/grubx64.efi EFI/BOOT/BOOTX64.EFI; do mcopy -i esp.img program.efi "::/$f"; done
mcopy -i esp.img stub.cfg ::/EFI/debian/grub.cfg
part esp.img 2048
truncate -s 4M boot.img
mke2fs -q -F -t ext4 -b 1024 -O ^metadata_csum,^has_journal -U $boot -d m/boot boot.img
part boot.img 10240
truncate -s 6M root.img
mke2fs -q -F -t ext4 -b 1024 -O ^metadata_csum -J size=1 -U $root -d m/root root.img
part root.img 18432
truncate -s 1M swap.img
mkswap -q -U dddddddd-0000-4000-8000-00000000000d swap.img
part swap.img 30720
# GRUB's boot code and core, for a BIOS.
grub-mkimage -O i386-pc -p /grub -o core.img biosdisk part_gpt ext2
dd if=/usr/lib/grub/i386-pc/boot.img of=machine.img bs=1 count=440 conv=notrunc status=none
printf '\000\200\000\000\000\000\000\000' | dd of=machine.img bs=1 seek=92 conv=notrunc status=none
printf '\001\200\000\000\000\000\000\000' | dd of=core.img bs=1 seek=500 conv=notrunc status=none
part core.img 32768
keep machine.img machine
