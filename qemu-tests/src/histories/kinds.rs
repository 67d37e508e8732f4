//! The kinds of ext4 that histories are lived on.

/// A kind of file system.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What mke2fs is told.
    pub(crate) options: &'static [&'static str],
    /// What the kernel is told when it mounts it.
    pub(crate) mounted: &'static str,
    /// Its inodes keep nanoseconds and it has a journal of its own: sessions can be told by their metadata.
    pub(crate) tells: bool,
    /// The kernel makes it whole after any power cut: it has a journal, on the disk that is cut off, whose commits wait for what
    /// they commit, and no fast commits, which Linux 6.18 cannot always carry out.
    pub(crate) heals: bool,
    /// Its journal is on another disk.
    pub(crate) external: bool,
    /// Its directories fold case.
    pub(crate) folds: bool,
}

const fn kind(name: &'static str, options: &'static [&'static str]) -> Kind {
    Kind { name, options, mounted: "", tells: true, heals: true, external: false, folds: false }
}

const fn mounted(name: &'static str, mounted: &'static str) -> Kind {
    Kind { mounted, ..kind(name, &["-t", "ext4", "-b", "4096"]) }
}

impl Kind {
    /// All that is written to it is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.mounted == "test_dummy_encryption"
    }
}

pub(crate) const KINDS: &[Kind] = &[
    kind("plain", &["-t", "ext4", "-b", "4096"]),
    kind("1k", &["-t", "ext4", "-b", "1024"]),
    kind("no-64bit", &["-t", "ext4", "-b", "4096", "-O", "^64bit"]),
    kind("no-checksums", &["-t", "ext4", "-O", "^metadata_csum"]),
    kind("no-lists", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg,^64bit"]),
    kind("block-maps", &["-t", "ext4", "-b", "1024", "-O", "^extents,^64bit"]),
    kind("inline", &["-t", "ext4", "-b", "4096", "-O", "inline_data"]),
    kind("inline-512", &["-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data"]),
    kind("bigalloc", &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"]),
    kind("meta-bg", &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"]),
    kind("flex-bg", &["-t", "ext4", "-b", "1024", "-g", "1024", "-G", "4"]),
    kind("no-flex-bg", &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^flex_bg"]),
    kind("sparse-super2", &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "sparse_super2,^resize_inode"]),
    kind("quota", &["-t", "ext4", "-b", "4096", "-O", "quota"]),
    kind("project", &["-t", "ext4", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"]),
    kind("orphan-file", &["-t", "ext4", "-b", "4096", "-O", "orphan_file"]),
    kind("no-orphan-file", &["-t", "ext4", "-b", "1024", "-O", "^orphan_file"]),
    Kind { heals: false, ..kind("fast-commit", &["-t", "ext4", "-b", "4096", "-O", "fast_commit"]) },
    kind("big-attributes", &["-t", "ext4", "-b", "1024", "-O", "ea_inode,metadata_csum_seed,large_dir"]),
    kind("ext3", &["-t", "ext3", "-b", "1024", "-I", "256"]),
    Kind { mounted: "test_dummy_encryption", ..kind("encrypted", &["-t", "ext4", "-b", "4096", "-O", "encrypt"]) },
    Kind { folds: true, ..kind("case-folded", &["-t", "ext4", "-b", "4096", "-O", "casefold", "-E", "encoding=utf8"]) },
    mounted("data-journal", "data=journal"),
    mounted("data-writeback", "data=writeback"),
    mounted("no-delay", "nodelalloc"),
    mounted("lazy-times", "lazytime"),
    Kind { heals: false, ..mounted("async-commit", "data=writeback,journal_async_commit") },
    Kind { external: true, tells: false, heals: false, ..kind("external-journal", &["-t", "ext4", "-b", "4096"]) },
    Kind { tells: false, heals: false, ..kind("no-journal", &["-t", "ext4", "-b", "4096", "-O", "^has_journal"]) },
    Kind { tells: false, ..kind("short-inodes", &["-t", "ext4", "-b", "4096", "-I", "128"]) },
];
