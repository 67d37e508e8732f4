//! The kinds of ext4 that histories are lived on.

/// A kind of file system.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What mke2fs is told.
    pub(crate) options: &'static [&'static str],
    /// Its inodes keep nanoseconds and it has a journal: sessions can be told by their metadata.
    pub(crate) keeps_times: bool,
}

const fn kind(name: &'static str, options: &'static [&'static str]) -> Kind {
    Kind { name, options, keeps_times: true }
}

pub(crate) const KINDS: &[Kind] = &[
    kind("plain", &["-t", "ext4"]),
    kind("1k", &["-t", "ext4", "-b", "1024"]),
    kind("no-64bit", &["-t", "ext4", "-O", "^64bit"]),
    kind("no-checksums", &["-t", "ext4", "-O", "^metadata_csum"]),
    kind("block-maps", &["-t", "ext4", "-b", "1024", "-O", "^extents,^64bit"]),
    kind("inline", &["-t", "ext4", "-O", "inline_data"]),
    kind("bigalloc", &["-t", "ext4", "-O", "bigalloc", "-C", "16384"]),
    kind("meta-bg", &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"]),
    kind("no-flex-bg", &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"]),
    kind("quota", &["-t", "ext4", "-O", "quota"]),
    kind("project", &["-t", "ext4", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"]),
    kind("fast-commit", &["-t", "ext4", "-O", "fast_commit"]),
    kind("ext3", &["-t", "ext3", "-I", "256"]),
    Kind { name: "no-journal", options: &["-t", "ext4", "-O", "^has_journal"], keeps_times: false },
    Kind { name: "short-inodes", options: &["-t", "ext4", "-I", "128"], keeps_times: false },
];
