//! What a parser wants changed on an ext file system, looked at again before anything is written: nothing but ids of file systems,
//! each by the id of a volume there is.

use model::boot::Patch;
use model::id::VolumePath;
use model::inspection::{Content, Inspection};
use model::ports::{DiskSource, ReadAt};
use model::units::ByteOffset;

/// Length of an id: 8-4-4-4-12 hexadecimal digits, or the 4-4 of a FAT.
const LENGTHS: [usize; 2] = [36, 9];

/// Checks every patch of an ext volume against the bytes that stand there now.
///
/// # Errors
/// A sentence where something else would change.
pub(super) fn check(patches: &[Patch], inspection: &Inspection, disks: &[DiskSource]) -> Result<(), String> {
    let known: Vec<String> = inspection.volumes().filter_map(|(_, v)| v.uuid()).map(str::to_ascii_lowercase).collect();
    let mut volumes: Vec<&VolumePath> = patches.iter().map(|p| &p.volume).collect();
    volumes.sort();
    volumes.dedup();
    for path in volumes {
        let Some(volume) = inspection.volume(path).filter(|v| matches!(v.content, Content::Ext(_))) else { continue };
        let window = disk::volume::bytes(disks, volume).ok_or_else(|| format!("{path} is gone"))?;
        let own: Vec<&Patch> = patches.iter().filter(|p| p.volume == *path).collect();
        for patch in &own {
            let (now, then, first) = around(&*window, patch, &own)?;
            // Only of this patch: what changes around it is told by its own.
            if !ids_alone(&now, &then, first..first + patch.bytes.len(), &known) {
                return Err(format!("{path} would change by more than the id of a volume at byte {}", patch.at));
            }
        }
    }
    Ok(())
}

/// The bytes around a patch, now and then, and where in them it begins: an id may go over its ends.
fn around(window: &dyn ReadAt, patch: &Patch, all: &[&Patch]) -> Result<(Vec<u8>, Vec<u8>, usize), String> {
    let longest = LENGTHS[0] as u64;
    let start = patch.at.0.saturating_sub(longest);
    let end = (patch.at.0 + patch.bytes.len() as u64 + longest).min(window.size().0);
    let len = usize::try_from(end.saturating_sub(start)).map_err(|e| e.to_string())?;
    let now = window.read_vec(ByteOffset(start), len).map_err(|e| e.to_string())?;
    let mut then = now.clone();
    let near = |p: &&&Patch| p.at.0 < end && p.at.0.saturating_add(p.bytes.len() as u64) > start;
    for other in all.iter().filter(near) {
        for (at, byte) in (other.at.0..).zip(&other.bytes) {
            let place = at.checked_sub(start).and_then(|n| usize::try_from(n).ok()).and_then(|n| then.get_mut(n));
            place.into_iter().for_each(|place| *place = *byte);
        }
    }
    Ok((now, then, usize::try_from(patch.at.0 - start).unwrap_or(0)))
}

/// True where all that differs within a range is part of an id both now and then, and then it is a known one.
fn ids_alone(now: &[u8], then: &[u8], range: std::ops::Range<usize>, known: &[String]) -> bool {
    range.clone().all(|at| {
        now.get(at) == then.get(at)
            || LENGTHS.into_iter().any(|len| {
                (at.saturating_sub(len - 1)..=at).any(|start| {
                    let (was, is) = (id(now, start, len), id(then, start, len));
                    was.is_some() && is.is_some_and(|is| known.contains(&is))
                })
            })
    })
}

/// The id that stands there, alone, in lower case.
fn id(bytes: &[u8], start: usize, len: usize) -> Option<String> {
    let text = std::str::from_utf8(bytes.get(start..start.checked_add(len)?)?).ok()?;
    let dashes: &[usize] = if len == LENGTHS[0] { &[8, 13, 18, 23] } else { &[4] };
    let is = |(n, b): (usize, u8)| if dashes.contains(&n) { b == b'-' } else { b.is_ascii_hexdigit() };
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_hexdigit() || *b == b'-');
    let alone = !part(start.checked_sub(1).and_then(|n| bytes.get(n))) && !part(bytes.get(start + len));
    (alone && text.bytes().enumerate().all(is)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "11111111-2222-4333-8444-555555555555";
    const NEW: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

    fn changes(now: &str, then: &str) -> bool {
        let known = [NEW.to_owned(), "12ab-34cd".to_owned()];
        ids_alone(now.as_bytes(), then.as_bytes(), 0..now.len(), &known)
    }

    #[test]
    fn only_ids_of_volumes_change() {
        assert!(changes(&format!("root=UUID={OLD} ro"), &format!("root=UUID={NEW} ro")));
        assert!(changes("UUID=0000-0000 /boot/efi", "UUID=12AB-34CD /boot/efi"));
        assert!(changes("the same", "the same"));
        assert!(!changes(&format!("root=UUID={OLD} ro"), &format!("root=UUID={NEW} rw")), "an option");
        assert!(!changes("UUID=0000-0000 x", "UUID=0000-0001 x"), "nobody's id");
        assert!(!changes(&format!("{OLD}0"), &format!("{NEW}0")), "part of something longer");
        assert!(!changes("init=/sbin/init", "init=/tmp/xinit"));
    }
}
