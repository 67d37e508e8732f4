//! `--help`.

use super::verbs::{self, VERBS, Words};
use crate::tui::text::wrap;
use std::fmt::Write;

/// What stands above the list of all verbs, and below it.
const ABOVE: &str = "holdfast: what happened to this machine, and the way back\n\n";
const BELOW: &str = "
`holdfast VERB --help` tells the options. --json answers programs.
DISK is a block device or a raw image file; it may be given several times.
SNAP is an id (4 digits or more), `latest`, or `latest:good`.
An encrypted store S is opened with --passphrase-file F or --key-file F, with
the file that HOLDFAST_PASSPHRASE_FILE or HOLDFAST_KEY_FILE names, or with the
passphrase typed at the terminal.
A disk's encrypted volume (LUKS) is unlocked with --unlock VOLUME (typed at the
terminal), --unlock VOLUME=FILE (a passphrase) or --unlock-key VOLUME=FILE, by
the verbs that look at disks; what lies in it is VOLUME/luks or below.
Exit codes: 0 ok, 1 failed, 2 usage, 3 damage found, 4 refused or needs a
decision, 5 interrupted and resumable, 6 written by a newer version.
";
pub(super) const INSPECT: &str = "\
holdfast inspect DISK.. [--store S] [--json] [--explain] [--timeline]
    [--unlock VOLUME[=FILE]] [--unlock-key VOLUME=FILE]

Says what each installed system did last: how it ended, how far it came up,
whether an installation was cut short, and (with --store) whether it changed
since it was saved; and whether its boot chain leads from the firmware to the
first process. Then what it did, newest first: starts, shutdowns, sleeps,
packages, each with its time and whose record tells of it. Reads only.
--timeline shows all of that, not only the newest. --explain shows the rules
and the evidence, and all of that too.
";
pub(super) const STORE: &str = "\
holdfast store init S [--encrypt | --passphrase-file F | --key-file F]
    [--probe [SIZE]] [--json]

Makes a store in the directory S, which is made where there is none. Refused
where there is a store already.
--encrypt asks for a passphrase, twice; with a passphrase file (its last line
end does not count) or a key file (32 bytes to 1 MiB) the store is encrypted
too. This cannot be changed later. Without passphrase and key file the store is
lost.
--probe first fills the place with random bytes (all its room, or at most SIZE:
500M, 4G in thousands, 4GiB), reads them all back, and deletes them: a stick
that is smaller than it says, or worn out, is found before anything is trusted
to it. Where a byte does not come back, no store is made (exit code 3). It
takes as long as writing and reading that much; Ctrl-C stops it.
";
pub(super) const SNAPSHOT: &str = "\
holdfast snapshot DISK.. --store S [--full] [--dry-run] [--sign-with FILE]
    [--unlock VOLUME[=FILE]] [--unlock-key VOLUME=FILE] [--allow-plain]
    [--json]

Saves the present state of the disks. They are only read. What the store has
already is not stored again.
--sign-with signs it with a key that `key new-signer` made.
--full also saves, byte for byte, volumes that this version does not
understand, and encrypted ones that are locked.
--unlock saves what lies in an encrypted volume, by itself. Into a store that
is not encrypted only with --allow-plain: it can be read there.
--dry-run says what would be read, and how much room it may need; nothing is
saved.
Ctrl-C stops it, and so does a full store (exit code 5): what was saved so far
is put aside, and the next snapshot goes on from there. It is read again all
the same where the file system does not prove that nobody wrote to it since:
anything but an ext4 with a journal or an XFS that was unmounted, and with
--full.
";
pub(super) const AUTO: &str = "\
holdfast auto DISK.. --store S [--policy FILE] [--dry-run] [--sign-with FILE]
    [--unlock VOLUME[=FILE]] [--unlock-key VOLUME=FILE] [--allow-plain]
    [--json]

Looks at the disks, decides by a policy what their state calls for, says what
and why, and does it. By the built-in policy:
  - nothing is saved where it is proven that nothing changed since the newest
    snapshot (exit code 0 all the same);
  - after a crash everything is read, and the snapshot is called `crashed`;
  - where an installation was cut short or the last start failed, it is called
    `broken`;
  - every 20th snapshot reads everything, as after a crash.
FILE changes that, and can have old snapshots of this machine forgotten after a
new one was taken: docs/policy.md says how. Nothing is forgotten unless it says
so. A policy never rolls back.
--dry-run only says what would be done.
Ctrl-C stops it; nothing is lost.
";
pub(super) const SNAPSHOTS: &str = "\
holdfast snapshots --store S [--require-signer ID,..] [--json]

Lists what is saved, newest last, with labels, pins, and who signed it (each
signature was verified).
With --require-signer only what one of these signed is used: anything else
counts as damage. `rollback`, `undo`, `resume`, `check` and `export` take it
too.
";
pub(super) const SHOW: &str = "\
holdfast show SNAP --store S [--require-signer ID,..] [--json]

Tells all that is kept of a saved state: whose it is, what was known of the
machine then and by which evidence, what of its disks is saved, why that and
how it was compared with the state before, what is not saved or could not be
read, and what its firmware started. Reads no data.
";
pub(super) const ROLLBACK: &str = "\
holdfast rollback SNAP DISK.. --store S [--only VOLUME,..] [--keep PATH,..]
    [--full] [--foreign-machine NAME] [--unlock VOLUME[=FILE]]
    [--unlock-key VOLUME=FILE] [--allow-plain]
    [--plan | --approve PLANID | --yes] [--json]

Takes the disks back to a saved state. Without an approval it shows the plan
and ends with exit code 4.
--plan shows it and ends with 0; --approve PLANID carries out that plan and no
other; --yes carries out whatever the plan is.
The plan says what you would lose: what was written since, packages that go
back, and how long it takes. With --approve and --yes that is not waited for.
The present state is saved first: `holdfast undo` goes back to it. If it is cut
off, `holdfast resume` or `holdfast undo` completes it.
What is the same by the file systems' own records is not read; bytes written
below a file system are not noticed then, and stay. --full reads everything in
use: for a machine that somebody may have broken into.
A snapshot of another machine, whose partitions these disks have, goes onto
them only where --foreign-machine names that machine.
--only names volumes as `inspect` does (d0/p2); without it the system with
everything it starts from is taken back.
What others have on an EFI system partition stays as it is now: a Windows, a
second system, what belongs to none; the plan lists it. That state is composed
first too. Named alone (--only d0/p1) the partition goes back as one.
--unlock unlocks an encrypted volume first, so that what lies in it goes back
too. The state before is saved in clear, into a store that is not encrypted,
only with --allow-plain.
--keep names files and directories (/home,/srv/data) that stay as they are now
though their volume goes back; on ext2/3/4, as root, with FUSE and the loop
driver. The state to go to is composed first, of the saved one and what is
kept, and saved; the disks are only written once that has worked. Owners,
modes, times, attributes and hard links among what one PATH holds are carried
over; project ids and creation times are not.
";
pub(super) const PUT: &str = "\
holdfast put SNAP:PATH.. DISK.. --store S [--unlock VOLUME[=FILE]]
    [--unlock-key VOLUME=FILE] [--allow-plain]
    [--plan | --approve PLANID | --yes] [--json]

Puts files and directories of a saved state back to where they were, in the
place of what is there now; everything else stays as it is. PATH is that of the
system, or VOLUME:/PATH. A disk whose name looks like SNAP:/PATH is called
./SNAP:/PATH.
The state to go to is composed first, of the present one and these files, and
saved, as for `rollback --keep`, whose help says what that needs and carries
over.
Approval as for `rollback`, `holdfast undo` and `holdfast resume` likewise.
";
pub(super) const RESTORE: &str = "\
holdfast restore SNAP DISK.. --store S [--new-ids] [--grow VOLUME]
    [--overwrite IDENTITY] [--unlock VOLUME[=FILE]] [--unlock-key VOLUME=FILE]
    [--plan | --approve PLANID | --yes] [--json]
holdfast restore SNAP --disk d0=DISK [--disk d1=DISK].. --store S ...

Puts a saved state onto new disks, whole: table, boot code and every volume,
where they were; a GPT's second copy goes to the end of the new disk. The disks
of the saved state go onto those named, in that order, or as --disk says.
Approval as for `rollback`. If it is cut off, nothing on the disk starts or
mounts, and `holdfast resume` finishes it.
A disk must be empty: no table, no file system, zeros wherever it is looked at
(its first 64 MiB, its last 4, and 1024 places between). --overwrite names one
that may lose what it holds, by its serial number, or where it has none as the
refusal says. There is no undo: save it first if it may be missed.
It must have sectors of the same size, and room for all partitions; none is
made smaller.
--grow VOLUME lets the last volume of a disk reach to the end of a larger one,
or the last but for swap, which moves: ext2, ext3 or ext4. The plan of a larger
disk says which. It is made larger first, in the store, by the kernel: that
needs root, with CAP_SYS_RESOURCE, FUSE and the loop driver. If the kernel
refuses, nothing was written. States that were saved before do not fit in its
place any more: they come back by a restore. FAT and swap are not made larger,
nor logical partitions of an MBR.
What lay unlocked in a LUKS volume is encrypted again as it is written, under
the header, key slots and UUID of then: --unlock d0/p3 asks for the passphrase
that the saved state has for it. So does `holdfast resume` after a cut.
In the rescue, boot entries of the firmware that started from the saved disks
are put back, to start from the new ones.
--new-ids gives tables and partitions other GUIDs (an MBR another signature).
File systems keep their UUIDs. Without it the disk is the same to the machine
as the one that was saved: do not start with both of them attached.
";
pub(super) const UNDO: &str = "\
holdfast undo DISK.. --store S [--full] [--unlock VOLUME[=FILE]]
    [--unlock-key VOLUME=FILE] [--allow-plain]
    [--plan | --approve PLANID | --yes] [--json]

Goes back to what was before the last rollback of these disks, finished or not.
Approval and --full as for `rollback`.
";
pub(super) const RESUME: &str = "\
holdfast resume DISK.. --store S [--unlock VOLUME[=FILE]]
    [--unlock-key VOLUME=FILE] [--allow-plain]
    [--plan | --approve PLANID | --yes] [--json]

Finishes a rollback (or an undo) that was cut off. Approval as for `rollback`.
";
pub(super) const REPAIR_BOOT: &str = "\
holdfast repair-boot DISK.. --store S [--plan | --approve PLANID | --yes]
    [--json]

Follows the boot chain of each installed system (as `inspect` does) and puts
right what can be without a saved state: the boot loader where UEFI firmware
finds it by itself; the lines on the EFI system partition that lead GRUB to
its menu; ids of volumes that are not there any more, in these lines, in
GRUB's menu and in fstab; the first copy of a GPT. It shows what it would do
first; approval as for `rollback`.
The volumes it writes are saved before and with what is put right: `holdfast
undo` goes back, and `holdfast resume` finishes it where it was cut off.
";
pub(super) const CHECK: &str = "\
holdfast check --store S [--read-data] [--accept-head] [--json]

Looks for damage in a store: exit code 3 where there is any. --read-data reads
and hashes every byte. Of saved states that cannot be restored whole it names
the files that are lost (on ext2/3/4 and FAT), ten of each volume; --json tells
up to a hundred.

This computer remembers how it last saw each store (in
~/.local/state/holdfast). Where a store is older than that, objects were lost,
or the whole of it was put back: an old copy, an image of its disk. Nothing
within the store can show that. It counts as damage here, other verbs warn, and
what would write to the store is refused (exit code 4).
--accept-head says that it is right so, because you put it back yourself: from
then on the store is taken as it is.
";
pub(super) const REPAIR: &str = "\
holdfast repair --store S
    [--from S2 [--from-passphrase-file F | --from-key-file F]] [--json]

Reads all of a store, writes again what can still be had of damaged packs and,
with --from, what another store has of the same saved states (`holdfast copy`
makes such a store; a plain copy of S will do). Nothing good is changed or
deleted: damaged data is left for `holdfast prune`, the damaged record of a
saved state makes way for that of S2. Exit code 3 where something stays
damaged.
Ctrl-C stops it; run it again for the rest.
";
pub(super) const COPY: &str = "\
holdfast copy [SNAP..] --store S --to S2
    [--to-passphrase-file F | --to-key-file F] [--json]

Copies saved states, all of them where none is named, into another store, which
must exist (`holdfast store init`) and may be encrypted with keys of its own,
or not at all. They keep their ids and signatures, names, pins and proofs. What
S2 has already is not copied again; a name or a pin that S got since is brought
over, unless something was said in S2 after the one before came.
Whatever is read is proven first; what is damaged is told (exit code 3) and
holds up nothing else.
Ctrl-C stops it: what was copied stays, and the next run goes on.
";
pub(super) const PRUNE: &str = "\
holdfast prune --store S [--dry-run] [--now] [--rewrite N%] [--json]

Frees the room of what no saved state needs. It goes in two steps, so that
nobody who is saving or reading at the same time loses anything: a prune
deletes what the one before it marked, and marks what is not needed now.
Run it from time to time, or twice.
--now does both at once where the store lies on a disk of this computer, which
keeps others from writing.
Packs of which more than N% (50%) is not needed are written again without it;
100% leaves them, 0% leaves nothing over.
--dry-run says what would be done.
Where a saved state cannot be read whole, nothing is freed: repair or forget
that first.
Ctrl-C stops it; nothing is lost, and the next run goes on.
";
pub(super) const STATS: &str = "\
holdfast stats --store S [--json]

Tells what all saved states come to, what is left of that with everything
counted once, and compressed, and what nothing needs any more; and of each
state its size, what only it needs (`unique`: forgetting it frees about so
much), and what others need too. Reads no data.
";
pub(super) const EXPORT: &str = "\
holdfast export SNAP -o FILE.img|FILE.qcow2 --store S [--only VOLUME]
    [--unlock VOLUME[=FILE]] [--unlock-key VOLUME=FILE] [--json]

Writes a saved state out as a disk image that other tools read: FILE.img (or
.raw) holds the plain bytes, FILE.qcow2 is QEMU's format; either takes only the
room of what is saved. Of several disks each becomes a file of its own,
FILE-d0.img, FILE-d1.img; --only d1 writes that disk alone, and --only d0/p2
that volume alone, from its first byte.
Nothing is ever overwritten: FILE must be new, and has its name only when it is
whole. Only you can read it, for it holds the machine's passwords and keys.
What lay unlocked in a LUKS volume is encrypted in the image of its disk, which
takes the passphrase of then (--unlock d0/p3). By its own name (--only
d0/p3/luks) it comes out in clear.
What is not in the image is said, and reads as zeros: volumes that were not
saved, and bytes that could not be read when they were (exit code 3). Free
space reads as zeros too, and so does swap behind its header.
Ctrl-C stops it and removes what was begun.
";
pub(super) const PROVE: &str = "\
holdfast prove SNAP --store S [--timeout SECONDS] [--accel tcg|kvm]
    [--bus sata|virtio|nvme] [--json]

Starts a saved state in a virtual machine (QEMU; Debian: packages
qemu-system-x86 and, for systems that start on UEFI, ovmf) and notes in the
store whether it came up: exit code 0 where it did, 3 where it did not, 4 where
nothing tells. `snapshots` shows the last verdict.
What counts is what the system itself writes to its journal or login record
while it runs, not what appears on a screen. It may take --timeout seconds
(600) and, where its root was mounted, a minute more for a shutdown.
The machine has no network and sees nothing of this computer. What it writes is
kept in memory and in a scratch file without a name (in $TMPDIR or /var/tmp),
4 GB at most, and is gone afterwards.
--accel kvm is far faster where it works; where /dev/kvm is there and
kernels hang on it the verdict would be wrong, so it is not chosen unasked.
--bus says how its disks are attached, where what was chosen is not known to
its initial RAM file system.
Ctrl-C ends the machine; nothing is noted then.
";
pub(super) const LS: &str = "\
holdfast ls SNAP[:PATH] --store S [--json]

Lists what a saved state holds at a place, as `ls -ln` does (+: it has extended
attributes): SNAP:/etc is a path of the system in it, through its mount points;
SNAP:d0/p2:/etc a path on one volume. SNAP alone lists its volumes. Files are
read on ext2/3/4 and FAT. Symbolic links on the way are followed within the
volume.
";
pub(super) const GET: &str = "\
holdfast get SNAP:PATH -o OUT [--privileged] --store S [--json]

Takes a file, or a directory with everything in it on that volume, out of a
saved state. Places are named as for `ls`. Only what is taken out is read.
OUT is made new, and has its name only when all of it is there; nothing is ever
overwritten. Modes, times, user attributes, access control lists, holes, links
and hard links are as they were; owners and groups too where root does it.
Set-user-ID and set-group-ID bits, devices, capabilities and other attributes
of the system are left out, and said, without --privileged: with it, whoever
made the saved file system decides what may run here with whose rights.
What cannot be read is said, and left out or has zeros in it (exit code 3).
Ctrl-C stops it and removes what was begun.
";
pub(super) const DIFF: &str = "\
holdfast diff A B --store S [--text] [--json]
holdfast diff A now DISK.. --store S [--text] [--unlock VOLUME[=FILE]]
    [--unlock-key VOLUME=FILE] [--json]

Tells what became of the files of saved state A in saved state B, or on the
disks as they are now: packages (dpkg), what the machine starts from, how it is
set up (below /etc), and everything else by directory, with the largest files.
--text also shows which lines differ of text files in /boot and /etc that
everybody on the machine may read.
Files of ext2/3/4 are compared by all that is kept of them (number, times,
size, owner), of FAT by name, size and time; content is not read. A volume that
cannot be compared says why. Reads only.
";
pub(super) const NOTE: &str = "\
holdfast note SNAP --label TEXT | --pin | --unpin --store S [--json]

Says something about a saved state: a name (an empty TEXT takes it away), or
that it is to be kept whatever `forget` is asked to keep (--pin), or no longer
(--unpin). The saved state itself, its id and its signatures do not change.
";
pub(super) const FORGET: &str = "\
holdfast forget --store S
    [SNAP.. | --keep-last N --keep-hourly N --keep-daily N --keep-weekly N
              --keep-monthly N --keep-yearly N --keep-within SPAN
              --keep-before-upgrade N --keep-before-trouble N]
    [--dry-run | --yes] [--prune] [--json]

Forgets saved states, for ever: those named, or all that no rule keeps. It
first shows what goes, and of what stays why. At a terminal it asks; elsewhere
it needs --yes (exit code 4 without). --dry-run shows and ends. Forgetting
frees no room by itself: `holdfast prune` does, which --prune runs afterwards.
Rules count for each machine, and for good states and all others apart.
--keep-daily 7 keeps the newest of each of the last 7 days that have one, and
so on; SPAN (36h, 10d, 2w, 6m, 1y) counts from the machine's newest state;
--keep-before-upgrade keeps the last good ones before packages were changed,
--keep-before-trouble those before a bad one. Without any rule: last 3, daily
7, weekly 5, monthly 12, before upgrade 1, before trouble 1.
Whatever the rules, these stay: the two newest good states of each machine
(where none is good, the newest of any kind), pinned and labelled ones, and
what a rollback that is not finished needs. A pinned state is not forgotten by
name either.
";
pub(super) const KEY: &str = "\
holdfast key list --store S [--json]
holdfast key add --store S [--new-passphrase-file F | --new-key-file F]
    [--label L] [--json]
holdfast key remove ID --store S [--json]
holdfast key new-signer -o FILE [--json]

An encrypted store has one or more keys, passphrases or key files, each of
which opens it. `add` asks for a new passphrase where no file is named;
`remove` never takes the last one. To change a passphrase, add one and remove
the other. Who opened the store once may have kept what it takes: after a leak
make a new store.

`new-signer` makes an Ed25519 key that signs snapshots, in a new file that only
you can read, and prints the signer's id: what others need to know to accept
only snapshots of yours. Keep the file off the store; who has it can sign as
you.
";
pub(super) const TUI: &str = "\
holdfast tui [DISK..] [--store S] [--to S2] [--ascii] [--record FILE]
holdfast tui --replay FILE [--ascii]

The screens of the rescue, on this terminal. Without DISK every disk of this
computer is looked at. Without --store it can only look.
--to names a second store: the screen of the store (key o) copies into it and
repairs from it. --to-passphrase-file or --to-key-file opens it.
Where TERM says that there is a mouse, a click on a key of the last row does
that key, one on a row chooses it, the wheel moves; Shift marks text as ever.
NO_MOUSE=1 in the environment leaves the mouse to the terminal.
--ascii draws with plain characters whatever the terminal.
--record writes the keys that are pressed, and what the screens are told, into
a new file that only you can read: for a report of something that went wrong.
What was shown is in it, names and texts of files too; a passphrase never is.
--replay plays it back, reading and writing nothing else: any key goes on to
what came next, q leaves. Without a terminal its last screen is printed.
";

#[cfg(feature = "manual")]
pub(super) const COMPLETIONS: &str = "\
holdfast completions bash|zsh|fish

Prints what makes a shell complete verbs, options and files:
  holdfast completions bash > /etc/bash_completion.d/holdfast
  holdfast completions zsh > /usr/local/share/zsh/site-functions/_holdfast
  holdfast completions fish > ~/.config/fish/completions/holdfast.fish
";
#[cfg(feature = "manual")]
pub(super) const MAN: &str = "\
holdfast man

Prints a manual page with the help of every verb:
  holdfast man > /usr/local/share/man/man1/holdfast.1
";

/// Columns of the list of verbs, and where it says what they do.
const COLUMNS: usize = 79;
const DOES: usize = 40;

/// The help of a verb, or of all.
pub(super) fn of(verb: Option<String>) -> String {
    verb.and_then(|name| verbs::of(&name)).map_or_else(all, |verb| verb.help.to_owned())
}

/// Every verb with what it does.
fn all() -> String {
    let mut out = ABOVE.to_owned();
    for verb in VERBS {
        // The one word that always follows is part of its name.
        let width = if matches!(verb.words, Words::OneOf([_])) { 0 } else { 10 };
        let head = format!("  holdfast {:<width$} {}", verb.name, verb.usage).trim_end().to_owned();
        let at = DOES.max(head.len() + 2);
        let (first, lines) = match at + verb.does.len() <= COLUMNS {
            true => (format!("{head:<at$}{}", verb.does), Vec::new()),
            false if head.len() + 2 <= DOES => {
                let mut lines = wrap(verb.does, COLUMNS - DOES);
                (format!("{head:<DOES$}{}", lines.remove(0)), lines)
            }
            false => (head, wrap(verb.does, COLUMNS - DOES)),
        };
        // A String takes everything.
        let _ = writeln!(out, "{first}");
        for line in lines {
            let _ = writeln!(out, "{:DOES$}{line}", "");
        }
    }
    out.push_str(BELOW);
    out
}

/// What is said of all verbs.
#[cfg(feature = "manual")]
pub(super) fn below() -> &'static str {
    BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_the_console_of_a_rescue() {
        let all = of(None);
        for verb in VERBS {
            assert!(all.contains(&format!("\n  holdfast {}", verb.name)), "{}", verb.name);
            let help = of(Some(verb.name.to_owned()));
            assert!(help.starts_with(&format!("holdfast {}", verb.name)), "{}", verb.name);
            assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
        }
        assert!(all.lines().all(|line| line.chars().count() < 80), "{all}");
    }
}
