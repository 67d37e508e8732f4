//! Targets whose root lies on what installers stack on a disk: another file system, or a volume group.
//!
//! A Debian that has the tools installs itself onto an empty disk, in a machine: a host's kernel need not know any of it. `/boot` is an
//! ext4 of its own, as installers make it for such roots.

use crate::guest::Guest;
use crate::machine::{Bus, Parts, overlay};
use crate::target::{self, bios_loader, sfdisk};
use crate::{Result, workspace};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 3800 * MIB;
/// Start and size of each partition in sectors.
const PARTITIONS: &str = "\
label: gpt
unit: sectors
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=4096, size=524288, type=BC13C2FF-59E6-4262-A352-B275FD6F7172, name=boot
start=528384, size=7247872, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=system
";
/// Where GRUB's core goes: the first partition.
const EARLY: &str = "\
serial --unit=0 --speed=115200
terminal_output serial console
search --no-floppy --fs-uuid --set=root BOOT_UUID
set prefix=($root)/grub
configfile ($root)/grub/grub.cfg
";

const BOOT_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0011";
const ROOT_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0012";
const LUKS_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0013";

/// What opens [`Stack::Luks`].
pub const PASSPHRASE: &str = "correct horse";

const BOOT: &str = "/dev/disk/by-id/virtio-NEW-part2";
const SYSTEM: &str = "/dev/disk/by-id/virtio-NEW-part3";

/// How long one command of the installing may take without hardware acceleration.
const STEP: Duration = Duration::from_secs(2400);

/// What lies between the disk and the root's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// XFS on a partition.
    Xfs,
    /// btrfs on a partition, the root in a subvolume of its own, compressed.
    Btrfs,
    /// ext4 on a logical volume.
    Lvm,
    /// The same in a LUKS volume, with swap: what Debian's installer makes of a laptop's disk.
    Luks,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Xfs, Self::Btrfs, Self::Lvm, Self::Luks];

    /// Its name, as a case is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Lvm => "lvm",
            Self::Luks => "luks",
        }
    }

    /// The commands that make it on [`SYSTEM`] and mount its root.
    fn make(self) -> Vec<String> {
        match self {
            Self::Xfs => vec![format!("mkfs.xfs -q -f -m uuid={ROOT_UUID} {SYSTEM} && mount {SYSTEM} /mnt")],
            Self::Btrfs => vec![
                format!("mkfs.btrfs -q -f -U {ROOT_UUID} {SYSTEM} && mount {SYSTEM} /mnt"),
                "btrfs subvolume create /mnt/@ && btrfs subvolume create /mnt/@home && umount /mnt".to_owned(),
                format!("mount -o subvol=@,compress=zstd:1 {SYSTEM} /mnt"),
            ],
            Self::Lvm => vec![
                format!("pvcreate -q -ff -y {SYSTEM} && vgcreate -q vg0 {SYSTEM}"),
                "lvcreate -q -y -n home -L 256M vg0 && lvcreate -q -y -n root -l 100%FREE vg0".to_owned(),
                format!("mke2fs -q -t ext4 -U {ROOT_UUID} /dev/vg0/root && mke2fs -q -t ext4 /dev/vg0/home"),
                "mount /dev/vg0/root /mnt".to_owned(),
            ],
            Self::Luks => vec![
                // As little memory and as few passes as make sense: without hardware acceleration everything takes long.
                format!(
                    "printf '{PASSPHRASE}' | cryptsetup luksFormat -q --type luks2 --uuid {LUKS_UUID} --pbkdf argon2id \
                     --pbkdf-memory 32768 --pbkdf-parallel 1 --pbkdf-force-iterations 4 --key-file - {SYSTEM}"
                ),
                format!("printf '{PASSPHRASE}' | cryptsetup open --key-file - {SYSTEM} system_crypt"),
                "pvcreate -q /dev/mapper/system_crypt && vgcreate -q vg0 /dev/mapper/system_crypt".to_owned(),
                "lvcreate -q -y -n swap -L 128M vg0 && lvcreate -q -y -n root -l 100%FREE vg0".to_owned(),
                format!("mkswap -q /dev/vg0/swap && mke2fs -q -t ext4 -U {ROOT_UUID} /dev/vg0/root"),
                "mount /dev/vg0/root /mnt".to_owned(),
            ],
        }
    }

    /// The lines of fstab for its root, and for what else is on it.
    fn fstab(self) -> String {
        match self {
            Self::Xfs => format!("UUID={ROOT_UUID} / xfs defaults 0 0"),
            Self::Btrfs => format!(
                "UUID={ROOT_UUID} / btrfs subvol=@,compress=zstd:1 0 0\\nUUID={ROOT_UUID} /home btrfs subvol=@home 0 0"
            ),
            Self::Lvm => {
                "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\\n/dev/mapper/vg0-home /home ext4 defaults 0 2"
                    .to_owned()
            }
            Self::Luks => {
                "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\\n/dev/mapper/vg0-swap none swap sw 0 0".to_owned()
            }
        }
    }

    /// What is done with the files once they are there, besides.
    fn finish(self) -> Vec<String> {
        match self {
            Self::Xfs | Self::Btrfs | Self::Lvm => Vec::new(),
            // What asks for the passphrase is only put into an initramfs that is made where it is needed.
            Self::Luks => vec![
                format!("echo 'system_crypt UUID={LUKS_UUID} none luks,discard,initramfs' >/mnt/etc/crypttab"),
                "for at in dev proc sys; do mount --bind /$at /mnt/$at; done && chroot /mnt update-initramfs -u -k all"
                    .to_owned(),
            ],
        }
    }

    /// The commands that let go of it.
    fn close(self) -> Vec<String> {
        match self {
            Self::Luks => vec!["vgchange -q -an vg0 && cryptsetup close system_crypt".to_owned()],
            Self::Xfs | Self::Btrfs | Self::Lvm => Vec::new(),
        }
    }

    /// What the kernel is told of its root.
    fn root(self) -> String {
        match self {
            Self::Xfs => format!("root=UUID={ROOT_UUID}"),
            Self::Btrfs => format!("root=UUID={ROOT_UUID} rootflags=subvol=@"),
            Self::Lvm | Self::Luks => "root=/dev/mapper/vg0-root".to_owned(),
        }
    }
}

/// A Debian that was installed on such a disk and has not been started: a raw image that is never written, as [`target::debian`].
///
/// Made on first use (some minutes without hardware acceleration), and again when a recipe changes.
///
/// # Errors
/// Where a package is missing, or a command fails.
pub fn installed(stack: Stack, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let dir = workspace::cache()?.join("target-stacks");
    fs::create_dir_all(&dir)?;
    let (disk, stamp) = (dir.join(format!("{}.img", stack.name())), dir.join(format!("{}.recipe", stack.name())));
    let recipe = format!("{} {}", target::recipe()?, model::id::Digest::of(include_bytes!("stack.rs")));
    if disk.exists() && fs::read_to_string(&stamp).is_ok_and(|s| s == recipe) {
        return Ok(disk);
    }
    let tools = target::with_tools(say)?;
    say(&format!("{}: a Debian installs itself onto it", stack.name()));
    let image = dir.join(format!("{}.partial", stack.name()));
    File::create(&image)?.set_len(SIZE)?;
    sfdisk(&image, PARTITIONS)?;
    bios_loader(&EARLY.replace("BOOT_UUID", BOOT_UUID), &dir, &image)?;
    install(stack, &tools, &image, &dir)?;
    fs::rename(image, &disk)?;
    fs::write(stamp, recipe)?;
    Ok(disk)
}

fn install(stack: Stack, tools: &Path, image: &Path, dir: &Path) -> Result<()> {
    let name = format!("install-{}", stack.name());
    let from = overlay(tools, &dir.join(format!("{}-tools.qcow2", stack.name())))?;
    let parts = Parts::new(&name, dir).disk(&from, Bus::Virtio, "TOOLS").disk(image, Bus::Virtio, "NEW");
    let mut guest = Guest::login(parts.start()?)?;
    // Moving pages about for the sake of larger ones keeps an emulated processor from all else for minutes (Linux 6.1, QEMU 7.2).
    guest.run("echo 0 >/proc/sys/vm/compaction_proactiveness", STEP)?;
    let mut commands = stack.make();
    commands.push(format!("mkdir /mnt/boot && mke2fs -q -t ext4 -U {BOOT_UUID} {BOOT} && mount {BOOT} /mnt/boot"));
    // What is mounted elsewhere, the new disk too, is left out.
    commands.push("tar -C / --one-file-system --xattrs -cf - . | tar -C /mnt --xattrs -xpf -".to_owned());
    commands.push(format!(
        "printf '{}\\nUUID={BOOT_UUID} /boot ext4 defaults 0 2\\n' >/mnt/etc/fstab && cat /mnt/etc/fstab",
        stack.fstab()
    ));
    commands.push("rm -rf /mnt/var/log/journal/* /mnt/var/log/wtmp && : >/mnt/etc/machine-id".to_owned());
    commands.push(format!(
        "cd /mnt/boot && printf '%s\\n' 'set timeout=1' 'serial --unit=0 --speed=115200' 'terminal_output serial console' \
         \"menuentry Debian {{ linux /$(ls -d vmlinuz-*) {} ro console=ttyS0,115200; initrd /$(ls -d initrd.img-*) }}\" >grub/grub.cfg; \
         cat grub/grub.cfg; cd /",
        stack.root()
    ));
    commands.extend(stack.finish());
    commands.push("umount -R /mnt && sync".to_owned());
    commands.extend(stack.close());
    for command in commands {
        guest.run(&command, STEP)?;
    }
    guest.poweroff()?;
    fs::remove_file(from)?;
    Ok(())
}
