//! Boot chains, and what is to be put right of them.

use super::{MOST_SYSTEMS, MOST_TEXT, check};
use crate::parser::ParserError;
use model::boot::{BootChain, BootRepair, BootRepairs};
use model::files::LONGEST_PATH;
use model::id::VolumePath;
use model::inspection::{Content, GPT_ESP, Inspection, System};
use model::units::{ByteLen, ByteOffset, Extent};

/// Most links of a boot chain, things to be put right, and pieces of bytes that change for it.
const MOST_LINKS: usize = 1024;
/// Most bytes that change.
const MOST_CHANGED: u64 = 64 << 20;

/// A boot chain: of the system, and of volumes and disks there are.
pub(in crate::parser) fn boot(
    chain: BootChain,
    inspection: &Inspection,
    system: &System,
) -> Result<BootChain, ParserError> {
    check(chain.root == system.root, || format!("the boot chain of a system on {}", chain.root))?;
    links(&chain, inspection)?;
    Ok(chain)
}

fn links(chain: &BootChain, inspection: &Inspection) -> Result<(), ParserError> {
    check(chain.links.len() <= MOST_LINKS, || format!("{} links", chain.links.len()))?;
    for link in &chain.links {
        check(is_somewhere(&link.volume, inspection), || format!("a link on {}", link.volume))?;
        let path = link.path.as_ref().map_or(0, |p| p.0.len());
        check(path <= LONGEST_PATH, || "a path without end".to_owned())?;
        let texts = link.says.as_str().len() + link.advice.as_str().len();
        check(texts <= MOST_TEXT, || "a link without end".to_owned())?;
    }
    Ok(())
}

/// A volume there is, or a whole disk.
fn is_somewhere(path: &VolumePath, inspection: &Inspection) -> bool {
    inspection.volume(path).is_some() || path.is_whole() && inspection.disk(path.disk()).is_some()
}

/// Repairs: bytes that change lie in a partition table, or in a volume of a system that is an ext or a FAT; on a FAT not in its
/// boot sector. What they are is looked at again where they are written (`crate::boot`).
pub(in crate::parser) fn boot_repairs(
    repairs: BootRepairs,
    inspection: &Inspection,
) -> Result<BootRepairs, ParserError> {
    let told = |list: &[BootRepair]| {
        check(list.len() <= MOST_LINKS, || format!("{} repairs", list.len()))?;
        list.iter().try_for_each(|r| {
            check(is_somewhere(&r.volume, inspection), || format!("a repair on {}", r.volume))?;
            let len = r.path.as_ref().map_or(0, |p| p.0.len()) + r.says.as_str().len();
            check(len <= MOST_TEXT, || "a repair without end".to_owned())
        })
    };
    told(&repairs.items)?;
    told(&repairs.left)?;
    check(repairs.patches.len() <= MOST_LINKS, || format!("{} pieces that change", repairs.patches.len()))?;
    check(repairs.changed().0 <= MOST_CHANGED, || format!("{} that change", repairs.changed()))?;
    let mut seen: Vec<(&VolumePath, Extent)> = Vec::new();
    for patch in &repairs.patches {
        let extent = Extent::new(patch.at, ByteLen(patch.bytes.len() as u64)).filter(|e| !e.is_empty());
        let extent = extent.ok_or_else(|| ParserError::new("the parser's answer was refused: a change of nothing"))?;
        let inside = match inspection.volume(&patch.volume) {
            Some(volume) => {
                let own = inspection.systems.iter().any(|s| s.uses(&volume.path)) || is_esp(&volume.path, inspection);
                // A /boot that fstab names by an id that is gone is nobody's; what changes on it is looked at byte for byte.
                let near = inspection.systems.iter().any(|s| s.root.disk() == volume.path.disk());
                let free = volume.mapping.is_none()
                    && match volume.content {
                        Content::Ext(_) => own || near,
                        Content::Fat(_) => own && extent.start() >= ByteOffset(512),
                        _ => false,
                    };
                free && Extent::whole(volume.extent.len()).contains(extent)
            }
            None => {
                let table = inspection.disk(patch.volume.disk()).and_then(|d| d.table.as_ref());
                table.is_some_and(|t| patch.volume.is_whole() && t.raw.iter().any(|raw| raw.contains(extent)))
            }
        };
        check(inside, || format!("a change at {} of {}", patch.at, patch.volume))?;
        let apart = seen.iter().all(|(v, e)| **v != patch.volume || e.intersect(extent).is_none());
        check(apart, || format!("two changes at {} of {}", patch.at, patch.volume))?;
        seen.push((&patch.volume, extent));
    }
    check(repairs.after.len() <= MOST_SYSTEMS, || format!("{} boot chains", repairs.after.len()))?;
    repairs.after.iter().try_for_each(|chain| links(chain, inspection))?;
    Ok(repairs)
}

fn is_esp(path: &VolumePath, inspection: &Inspection) -> bool {
    let table = inspection.disk(path.disk()).and_then(|d| d.table.as_ref());
    let partition = table.and_then(|t| t.partitions.iter().find(|p| Some(p.number) == path.number()));
    partition.is_some_and(|p| p.type_id == GPT_ESP || p.type_id == "ef")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::boot::Patch;
    use model::id::{Digest, DiskNo};
    use model::inspection::{Disk, FatInfo, Hardware, Partition, Table, TableKind, Volume};

    #[test]
    fn what_is_put_right_lies_where_it_may() {
        let fat = FatInfo {
            width: 12,
            volume_id: "12AB-34CD".into(),
            label: "".into(),
            cluster_size: 512,
            clusters: 9,
            dirty: false,
        };
        let path = VolumePath::partition(DiskNo(0), 1);
        let extent = Extent::between(4096, 12288).unwrap();
        let of_type = |type_id: &str| {
            let partition =
                Partition { number: 1, extent, type_id: type_id.into(), guid: None, name: None, bootable: false };
            let table = Table {
                kind: TableKind::Mbr,
                id: "00000001".into(),
                partitions: vec![partition],
                raw: vec![Extent::between(0, 512).unwrap()],
                from_backup: false,
            };
            let hardware = Hardware { transport: "".into(), ..Hardware::image("", ByteLen(16384)) };
            let volumes = vec![Volume::on_disk(path.clone(), extent, Content::Fat(fat.clone()))];
            let disk = Disk { no: DiskNo(0), hardware, head: Digest([0; 32]), table: Some(table), volumes };
            Inspection { disks: vec![disk], ..Inspection::default() }
        };
        let allowed = |inspection: &Inspection, places: &[(VolumePath, u64, usize)]| {
            let patch = |(volume, at, len): &(VolumePath, u64, usize)| Patch {
                volume: volume.clone(),
                at: ByteOffset(*at),
                bytes: vec![1; *len],
            };
            let patches = places.iter().map(patch).collect();
            boot_repairs(BootRepairs { patches, ..BootRepairs::default() }, inspection).is_ok()
        };
        let (esp, other, whole) = (of_type("ef"), of_type("83"), VolumePath::whole(DiskNo(0)));
        let on = |at, len| (path.clone(), at, len);
        assert!(allowed(&esp, &[on(512, 512), on(1024, 7168)]));
        assert!(!allowed(&esp, &[on(0, 512)]), "its boot sector");
        assert!(!allowed(&esp, &[on(7680, 513)]), "behind its end");
        assert!(!allowed(&esp, &[on(512, 512), on(1023, 2)]), "twice the same");
        assert!(!allowed(&esp, &[on(512, 0)]), "nothing");
        assert!(!allowed(&other, &[on(512, 512)]), "nobody's");
        assert!(allowed(&other, &[(whole.clone(), 0, 512)]), "the table");
        assert!(!allowed(&other, &[(whole, 512, 512)]), "behind the table");
    }
}
