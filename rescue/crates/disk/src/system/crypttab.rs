//! crypttab(5): what the encrypted volumes of a system are called once they are unlocked. fstab names them `/dev/mapper/NAME`.

use model::id::VolumePath;
use model::inspection::{Content, Inspection, Volume};

/// The most lines that are read.
const MOST_LINES: usize = 1000;

/// The volume that lies unlocked under a name of fstab; `None` where it names none, or one that is locked.
pub(super) fn resolve(inspection: &Inspection, crypttab: Option<&str>, spec: &str) -> Option<VolumePath> {
    let name = spec.strip_prefix("/dev/mapper/")?;
    let lines = crypttab.unwrap_or_default().lines().take(MOST_LINES).map(str::trim).filter(|l| !l.starts_with('#'));
    let told = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next().map(str::to_owned))?
    };
    // Without a line of its own: what systemd and installers call it (systemd-cryptsetup-generator(8), `luks.uuid`).
    let named = lines.into_iter().find_map(told).or_else(|| Some(format!("UUID={}", name.strip_prefix("luks-")?)))?;
    let uuid = |v: &Volume, wanted: &str| v.uuid().is_some_and(|u| u.eq_ignore_ascii_case(wanted));
    let part = |v: &Volume, wanted: &str| {
        let table = inspection.disk(v.path.disk()).and_then(|d| d.table.as_ref());
        let partition = table.and_then(|t| t.partitions.iter().find(|p| Some(p.number) == v.path.number()));
        partition.and_then(|p| p.guid.as_deref()).is_some_and(|g| g.eq_ignore_ascii_case(wanted))
    };
    let is = |v: &Volume| {
        let by = |tag: &str, link: &str| named.strip_prefix(tag).or(named.strip_prefix(link));
        let by_uuid = by("UUID=", "/dev/disk/by-uuid/").is_some_and(|wanted| uuid(v, wanted.trim_matches('"')));
        by_uuid || by("PARTUUID=", "/dev/disk/by-partuuid/").is_some_and(|wanted| part(v, wanted.trim_matches('"')))
    };
    let mut found = inspection.volumes().map(|(_, v)| v).filter(|v| matches!(v.content, Content::Luks(_)) && is(v));
    let (one, None) = (found.next()?, found.next()) else { return None };
    let inner = one.path.above(&[model::id::LUKS])?;
    inspection.volume(&inner).map(|v| v.path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::DiskNo;
    use model::inspection::{Disk, Hardware, LuksInfo};
    use model::units::{ByteLen, Extent};

    #[test]
    fn names_lead_to_what_was_unlocked() {
        let whole = VolumePath::whole(DiskNo(0));
        let luks = LuksInfo {
            version: 2,
            uuid: "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".into(),
            label: "".into(),
            cipher: "aes-xts-plain64".into(),
            sealed: false,
            not_opened: None,
            open: true,
            apart: model::units::ExtentSet::new(),
        };
        let extent = Extent::whole(ByteLen(1 << 20));
        let hardware = Hardware::image("x", ByteLen(1 << 20));
        let volumes = vec![Volume::on_disk(whole.clone(), extent, Content::Luks(luks))];
        let disk = Disk { no: DiskNo(0), hardware, head: model::id::Digest([0; 32]), table: None, volumes };
        let inner = whole.above(&["luks"]).unwrap();
        let layered = vec![Volume::on_disk(inner.clone(), extent, Content::Unknown)];
        let inspection = Inspection { disks: vec![disk], layered, ..Inspection::default() };
        let tab = "# <target> <source>\nsda3_crypt UUID=1A9BFC6D-6aa8-4e54-b245-63398a60e1c9 none luks,discard\nx PARTUUID=1\n";
        let of = |tab, spec| resolve(&inspection, tab, spec);
        assert_eq!(of(Some(tab), "/dev/mapper/sda3_crypt"), Some(inner.clone()));
        assert_eq!(of(None, "/dev/mapper/luks-1a9bfc6d-6aa8-4e54-b245-63398a60e1c9"), Some(inner));
        for other in ["/dev/mapper/x", "/dev/mapper/y", "/dev/sda3_crypt", "/dev/mapper/luks-1"] {
            assert_eq!(of(Some(tab), other), None, "{other}");
        }
    }
}
