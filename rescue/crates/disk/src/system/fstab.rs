//! fstab(5): what is mounted where, and which volume each source means.

use crate::volume::MD;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Inspection, TableKind, Volume};
use model::text::DisplayText;

/// Why a source means nothing where no volume has its name.
pub(crate) const NOT_HERE: &str = "there is no such volume on these disks";
/// Why a name that may be anything's means nothing.
const UNTOLD: &str = "what that names cannot be told";
/// The most lines that are read.
const MOST_LINES: usize = 1000;

/// A line that names something on a disk (or something that cannot be told: `source` is `None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it names; `None` for what lies on no disk of ours: network, tmpfs, a bind, a file.
    pub source: Option<Source>,
    /// The source as written, safe to show.
    pub shown: DisplayText,
    /// Where it is mounted, or `swap`.
    pub target: String,
    /// The system starts without it (`nofail`, `noauto`, mounted when it is first used).
    pub optional: bool,
    /// The subvolume of btrfs that is mounted, where one is named.
    pub subvolume: Option<Subvolume>,
}

/// How a subvolume is named (btrfs(5), `subvol=` and `subvolid=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subvolume {
    /// By its path, with a slash at its beginning and none at its end; empty for the top-level one.
    Path(String),
    /// By its number.
    Id(u64),
}

impl Subvolume {
    /// That of mount options; the path goes before the number.
    fn of(options: &str) -> Option<Self> {
        let value = |name: &str| options.split(',').find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
        let path = |path: &str| {
            let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
            Self::Path(parts.iter().map(|part| format!("/{part}")).collect())
        };
        let id = || value("subvolid")?.parse().ok().map(Self::Id);
        value("subvol").map(path).or_else(id)
    }
}

/// How a volume is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Uuid(String),
    Label(String),
    PartUuid(String),
    PartLabel(String),
    /// A kernel name: with a partition number or without.
    Node(Option<u32>),
    /// A volume of LVM: its group and itself.
    Lvm(String, String),
    /// An array of md, by its name.
    Md(String),
    /// Something on a disk by a name that says nothing here: `/dev/mapper/…`, `/dev/disk/by-id/…`.
    Opaque,
}

/// Reads an fstab. What makes no sense is skipped, as mount(8) does.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    text.lines().take(MOST_LINES).filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    let mut fields = text.split_whitespace().map(unescaped);
    let (spec, file, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let options = fields.next().unwrap_or_default();
    let has = |wanted: &str| options.split(',').any(|o| o == wanted);
    let target = if kind == "swap" { "swap".into() } else { normal(&file)? };
    let source = if has("bind") || has("rbind") { None } else { source(&spec) };
    let optional = has("nofail") || has("noauto") || has("x-systemd.automount");
    let subvolume = if kind == "btrfs" { Subvolume::of(&options) } else { None };
    Some(Line { source, shown: DisplayText::new(&spec), target, optional, subvolume })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescaped(field: &str) -> String {
    decode(field, "\\", 3, 8)
}

/// Replaces `mark` followed by `len` digits of a radix by the byte they mean.
fn decode(text: &str, mark: &str, len: usize, radix: u32) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + mark.len()..];
        let byte = after.get(..len).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, radix).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[len..];
            }
            None => {
                out.extend_from_slice(mark.as_bytes());
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// An absolute path with single slashes and none at the end.
fn normal(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// What a source, or `root=` on a kernel's command line, names; `None` for what lies on no disk of ours.
pub(crate) fn source(spec: &str) -> Option<Source> {
    let unquoted = |v: &str| v.trim_matches('"').to_owned();
    // udev writes odd bytes of a label as \xNN in the names of its links.
    let linked = |v: &str| decode(v, "\\x", 2, 16);
    type Make = fn(String) -> Source;
    let tags: [(&str, &str, Make); 4] = [
        ("UUID=", "/dev/disk/by-uuid/", Source::Uuid),
        ("LABEL=", "/dev/disk/by-label/", Source::Label),
        ("PARTUUID=", "/dev/disk/by-partuuid/", Source::PartUuid),
        ("PARTLABEL=", "/dev/disk/by-partlabel/", Source::PartLabel),
    ];
    for (tag, link, make) in tags {
        if let Some(v) = spec.strip_prefix(tag) {
            return Some(make(unquoted(v)));
        }
        if let Some(v) = spec.strip_prefix(link) {
            return Some(make(linked(v)));
        }
    }
    let name = spec.strip_prefix("/dev/")?;
    // /dev/md0 and /dev/md/0 are the array that is called 0; /dev/md127 is whatever came first.
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if let Some(array) = name.strip_prefix("md/").or(name.strip_prefix("md").filter(|n| digits(n))) {
        return Some(Source::Md(array.to_owned()));
    }
    if let Some((group, volume)) = mapper(name) {
        return Some(Source::Lvm(group, volume));
    }
    Some(node(name).map_or(Source::Opaque, Source::Node))
}

/// The group and the volume of LVM that a name means: `mapper/vg0-root`, in which a hyphen of either is written twice, or `vg0/root`
/// (lvm(8)). A name of that form may be another thing's: then there is no such volume.
fn mapper(name: &str) -> Option<(String, String)> {
    let Some(name) = name.strip_prefix("mapper/") else {
        let (group, volume) =
            name.split_once('/').filter(|(g, v)| !g.is_empty() && !v.is_empty() && !v.contains('/'))?;
        return (!matches!(group, "disk" | "block" | "md" | "mapper")).then(|| (group.to_owned(), volume.to_owned()));
    };
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => break,
            _ => at += 1,
        }
    }
    let (group, volume) = (name.get(..at)?, name.get(at + 1..)?);
    let plain = |part: &str| part.replace("--", "-");
    (!group.is_empty() && !volume.is_empty()).then(|| (plain(group), plain(volume)))
}

/// The partition number of a kernel name: `sda2`, `vda`, `nvme0n1p3`, `mmcblk0p1`. `None` for other names.
fn node(name: &str) -> Option<Option<u32>> {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| s.parse().ok();
    for prefix in ["sd", "vd", "hd", "xvd"] {
        if let Some(rest) = name.strip_prefix(prefix) {
            let at = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (letters, part) = rest.split_at(at);
            if !letters.is_empty() {
                return if part.is_empty() { Some(None) } else { digits(part).then(|| number(part)) };
            }
        }
    }
    let rest = match name.strip_prefix("mmcblk") {
        Some(rest) => rest,
        None => {
            let (controller, rest) = name.strip_prefix("nvme")?.split_once('n')?;
            digits(controller).then_some(rest)?
        }
    };
    match rest.split_once('p') {
        None => digits(rest).then_some(None),
        Some((disk, part)) => (digits(disk) && digits(part)).then(|| number(part)),
    }
}

/// The volume a source means, or why none: not here, or not certain. Of several with one name, the one on the root's disk is meant.
pub(crate) fn resolve(inspection: &Inspection, source: &Source, root: &VolumePath) -> Result<VolumePath, &'static str> {
    let named: Vec<&Volume> = match source {
        Source::Opaque => return Err(UNTOLD),
        Source::Node(number) => {
            let [disk] = inspection.disks.as_slice() else {
                return Err("with more than one disk it cannot be told which is meant");
            };
            let wanted = match number {
                Some(n) => VolumePath::partition(disk.no, *n),
                None => VolumePath::whole(disk.no),
            };
            inspection.volume(&wanted).into_iter().collect()
        }
        Source::Lvm(group, volume) => layered(inspection, [group, volume])?,
        Source::Md(array) => layered(inspection, [MD, array])?,
        Source::Uuid(uuid) => volumes(inspection, |_, v| v.uuid().is_some_and(|u| same(u, uuid))),
        Source::Label(label) => volumes(inspection, |_, v| label_of(&v.content) == Some(label.as_str())),
        Source::PartUuid(id) => volumes(inspection, |i, v| part_uuid(i, v).is_some_and(|p| same(&p, id))),
        Source::PartLabel(label) => volumes(inspection, |i, v| part_name(i, v) == Some(label.as_str())),
    };
    match named.as_slice() {
        [] => Err(NOT_HERE),
        [one] => Ok(one.path.clone()),
        several => {
            let near: Vec<&&Volume> = several.iter().filter(|v| v.path.disk() == root.disk()).collect();
            match near.as_slice() {
                [one] => Ok(one.path.clone()),
                _ => Err("more than one volume has that name"),
            }
        }
    }
}

/// Those that layers give these names. Where there is none it may be one that is not read, or another thing's name.
fn layered<'a>(inspection: &'a Inspection, names: [&str; 2]) -> Result<Vec<&'a Volume>, &'static str> {
    // Below these may be the encrypted volume that holds them.
    let is = |v: &&Volume| v.path.layers().iter().rev().map(String::as_str).take(2).eq(names.into_iter().rev());
    let found: Vec<&Volume> = inspection.layered.iter().filter(is).collect();
    if found.is_empty() { Err(UNTOLD) } else { Ok(found) }
}

fn volumes<'a>(inspection: &'a Inspection, wanted: impl Fn(&'a Inspection, &'a Volume) -> bool) -> Vec<&'a Volume> {
    inspection.volumes().map(|(_, v)| v).filter(|v| wanted(inspection, v)).collect()
}

fn same(a: &str, b: &str) -> bool {
    !a.is_empty() && a.eq_ignore_ascii_case(b)
}

fn label_of(content: &Content) -> Option<&str> {
    let label = match content {
        Content::Ext(e) => &e.label,
        Content::Fat(f) => &f.label,
        Content::Exfat(e) => &e.label,
        Content::Ntfs(n) => &n.label,
        Content::Btrfs(b) => &b.label,
        Content::Xfs(x) => &x.label,
        Content::Swap(s) => &s.label,
        _ => return None,
    };
    Some(label.as_str()).filter(|l| !l.is_empty())
}

/// GPT: the unique GUID. MBR: the disk's signature and the number, as the kernel makes it (`block/partitions/msdos.c`).
fn part_uuid(inspection: &Inspection, volume: &Volume) -> Option<String> {
    let (number, disk): (u32, DiskNo) = (volume.path.number()?, volume.path.disk());
    let table = inspection.disk(disk)?.table.as_ref()?;
    match table.kind {
        TableKind::Gpt => table.partitions.iter().find(|p| p.number == number)?.guid.clone(),
        TableKind::Mbr => Some(format!("{}-{number:02x}", table.id)),
    }
}

fn part_name<'a>(inspection: &'a Inspection, volume: &Volume) -> Option<&'a str> {
    let table = inspection.disk(volume.path.disk())?.table.as_ref()?;
    let partition = table.partitions.iter().find(|p| Some(p.number) == volume.path.number())?;
    partition.name.as_ref().map(DisplayText::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fstab_reads_as_mount_reads_it() {
        let text = "# c\n\nUUID=ab-1 / ext4 errors=remount-ro 0 1\nLABEL=\"My\\040Disk\" /boot// ext4 nofail,ro 0 2\n\
            /dev/disk/by-label/a\\x20b\t/mnt\\040x\tvfat\tdefaults\n/swapfile none swap sw 0 0\n\
            PARTUUID=12ab34cd-05 none swap sw\nserver:/x /n nfs\n/home/a /srv none bind\ntmpfs /tmp tmpfs\nshort line\n\
            /dev/mapper/vg-x /var ext4\n/dev/nvme0n1p3 /home ext4 noauto\nnone relative ext4\n";
        let got: Vec<(Option<Source>, String, bool)> =
            parse(text).into_iter().map(|l| (l.source, l.target, l.optional)).collect();
        let want = [
            (Some(Source::Uuid("ab-1".into())), "/", false),
            (Some(Source::Label("My Disk".into())), "/boot", true),
            (Some(Source::Label("a b".into())), "/mnt x", false),
            (None, "swap", false),
            (Some(Source::PartUuid("12ab34cd-05".into())), "swap", false),
            (None, "/n", false),
            (None, "/srv", false),
            (None, "/tmp", false),
            (Some(Source::Lvm("vg".into(), "x".into())), "/var", false),
            (Some(Source::Node(Some(3))), "/home", true),
        ];
        let want: Vec<_> = want.into_iter().map(|(s, t, o)| (s, t.to_owned(), o)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn subvolumes_are_named_by_path_or_number() {
        let named = |options: &str| {
            let lines = parse(&format!("UUID=1 / btrfs {options} 0 0\n"));
            lines.into_iter().next().and_then(|line| line.subvolume)
        };
        assert_eq!(named("subvol=@,compress=zstd:1"), Some(Subvolume::Path("/@".into())));
        assert_eq!(
            named("rw,subvolid=257,subvol=/@//.snapshots/1/snapshot"),
            Some(Subvolume::Path("/@/.snapshots/1/snapshot".into()))
        );
        assert_eq!(
            (named("subvol=/"), named("subvolid=5")),
            (Some(Subvolume::Path(String::new())), Some(Subvolume::Id(5)))
        );
        assert_eq!((named("defaults"), named("subvolid=x")), (None, None));
        assert_eq!(parse("UUID=1 / ext4 subvol=@ 0 0\n")[0].subvolume, None);
    }

    #[test]
    fn names_of_layers() {
        let lvm = |group: &str, volume: &str| Some(Source::Lvm(group.into(), volume.into()));
        for (name, want) in [
            ("/dev/mapper/vg0-root", lvm("vg0", "root")),
            ("/dev/mapper/my--vg-swap--1", lvm("my-vg", "swap-1")),
            ("/dev/vg0/root", lvm("vg0", "root")),
            ("/dev/md0", Some(Source::Md("0".into()))),
            ("/dev/md/data", Some(Source::Md("data".into()))),
            ("/dev/mapper/cryptroot", Some(Source::Opaque)),
            ("/dev/mapper/-root", Some(Source::Opaque)),
            ("/dev/mapper/vg0-", Some(Source::Opaque)),
            ("/dev/disk/by-id/x", Some(Source::Opaque)),
            ("/dev/mdx", Some(Source::Opaque)),
        ] {
            assert_eq!(source(name), want, "{name}");
        }
        // What is not read may still be there.
        let unknown = Source::Lvm("vg0".into(), "root".into());
        assert_eq!(resolve(&Inspection::default(), &unknown, &VolumePath::whole(DiskNo(0))), Err(UNTOLD));
    }

    #[test]
    fn kernel_names() {
        for (name, want) in [
            ("sda", Some(None)),
            ("sda2", Some(Some(2))),
            ("sdaa15", Some(Some(15))),
            ("vdb1", Some(Some(1))),
            ("nvme0n1", Some(None)),
            ("nvme0n1p3", Some(Some(3))),
            ("mmcblk0p1", Some(Some(1))),
            ("mmcblk0boot0", None),
            ("mapper/x", None),
            ("sd2", None),
            ("md0", None),
            ("sda2x", None),
        ] {
            assert_eq!(node(name), want, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses(text in "(?s).{0,200}") {
            parse(&text);
        }
    }
}
