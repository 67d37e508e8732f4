//! The programs that are compared: one entry each, and what is run is a line of shell that can be tried by hand.
//!
//! The lines are given these variables: `IMAGE` (the image), `TREE` (where its file system is mounted), `STORE` (a folder that
//! does not exist before `prepare`), `TAG` (the name of this capture), `PRINTED` (a folder in which the file of a capture's tag holds
//! what it printed), `FILE` and `OUT` (a file in it, and where that goes), `HOLDFAST` (the program), `KIND` (the image's file system, as
//! the kernel calls it).

/// What a contender reads, and writes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The image, with nothing mounted.
    Image,
    /// The files in it, mounted read-only; for the way back, an empty file system mounted to be written.
    Tree,
}

/// One program with its options.
pub(super) struct Contender {
    /// Its name in tables and for `--only`.
    pub(super) name: &'static str,
    /// The Debian package, where it comes from one.
    pub(super) package: Option<&'static str>,
    pub(super) source: Source,
    /// Each capture stands for itself: nothing is shared with the one before.
    pub(super) whole: bool,
    /// What is worth knowing to judge its figures.
    pub(super) note: &'static str,
    /// Makes an empty store. Not measured.
    pub(super) prepare: &'static str,
    pub(super) capture: &'static str,
    /// Reads all of the store, or of the capture `TAG` where it stands for itself, and looks for damage.
    pub(super) check: &'static str,
    /// Takes the disk back to the capture `TAG`.
    pub(super) rollback: &'static str,
    /// Takes the file [`FILE`] out of the capture `TAG`, into the file `OUT`, which is not there yet; `None` where nothing but the whole
    /// comes out.
    pub(super) file: Option<&'static str>,
}

/// What is taken out by itself: dpkg's database of what is installed, which every upgrade writes anew.
pub(super) const FILE: &str = "var/lib/dpkg/status";

/// All of them, ours first.
pub(super) const CONTENDERS: &[Contender] = &[
    Contender {
        name: "holdfast",
        package: None,
        source: Source::Image,
        whole: false,
        note: "saves used blocks; the rollback saves the present state first, so that it can be undone, and reads back \
               what it wrote",
        prepare: "$HOLDFAST store init $STORE",
        capture: "exec $HOLDFAST snapshot $IMAGE --store $STORE --json",
        check: "exec $HOLDFAST check --store $STORE --read-data",
        rollback: "exec $HOLDFAST rollback $(sed -n 's/.*\"snapshot\": *\"\\([0-9a-f]*\\)\".*/\\1/p' $PRINTED/$TAG) $IMAGE \
                   --store $STORE --yes",
        file: Some(
            "exec $HOLDFAST get $(sed -n 's/.*\"snapshot\": *\"\\([0-9a-f]*\\)\".*/\\1/p' $PRINTED/$TAG):/$FILE -o $OUT --store $STORE",
        ),
    },
    Contender {
        name: "partclone",
        package: Some("partclone"),
        source: Source::Image,
        whole: true,
        note: "saves used blocks; each capture is a file that stands for itself; it ends only at a tick of its progress display, \
               here every second",
        prepare: "mkdir $STORE",
        capture: "partclone.$KIND -c -q -f 1 -L /dev/null -s $IMAGE -o - | zstd -q -3 -T2 -o $STORE/$TAG.zst",
        check: "zstd -dcq $STORE/$TAG.zst | partclone.chkimg -f 1 -L /dev/null -s -",
        rollback: "zstd -dcq $STORE/$TAG.zst | partclone.restore -q -f 1 -C -L /dev/null -s - -O $IMAGE",
        file: None,
    },
    Contender {
        name: "restic",
        package: Some("restic"),
        source: Source::Tree,
        whole: false,
        note: "saves files, encrypted; the way back writes every file",
        prepare: "restic init -q",
        capture: "cd $TREE && exec restic backup -q --no-cache --tag $TAG .",
        check: "exec restic check -q --no-cache --read-data",
        rollback: "exec restic restore -q --no-cache --target $TREE --tag $TAG latest",
        file: Some("exec restic dump -q --no-cache --tag $TAG latest /$FILE >$OUT"),
    },
    Contender {
        name: "borg",
        package: Some("borgbackup"),
        source: Source::Tree,
        whole: false,
        note: "saves files; lz4; the way back writes every file",
        prepare: "borg init --encryption none $STORE",
        capture: "cd $TREE && exec borg create --compression lz4 $STORE::$TAG .",
        check: "exec borg check --verify-data $STORE",
        rollback: "cd $TREE && exec borg extract --sparse $STORE::$TAG",
        file: Some("exec borg extract --stdout $STORE::$TAG $FILE >$OUT"),
    },
    Contender {
        name: "borg-zstd",
        package: Some("borgbackup"),
        source: Source::Tree,
        whole: false,
        note: "the same with zstd,3",
        prepare: "borg init --encryption none $STORE",
        capture: "cd $TREE && exec borg create --compression zstd,3 $STORE::$TAG .",
        check: "exec borg check --verify-data $STORE",
        rollback: "cd $TREE && exec borg extract --sparse $STORE::$TAG",
        file: Some("exec borg extract --stdout $STORE::$TAG $FILE >$OUT"),
    },
];

/// Debian packages of the contenders and of what they are measured with.
pub(super) const HOST_PACKAGES: &[&str] = &[
    "borgbackup",
    "e2fsprogs",
    "mmdebstrap",
    "mount",
    "partclone",
    "qemu-system-x86",
    "restic",
    "systemd-journal-remote",
    "zstd",
];
