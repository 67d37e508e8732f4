//! Which boot entries of the firmware a write-back restores: those that start from a partition it writes, where they are missing or
//! changed, and their place in the order. Entries of others are neither changed nor removed.

use model::firmware::{
    BOOT_ATTRIBUTES, BootEntry, BootSettings, LoadOption, ORDER, VariableWrite, name_of, order_value,
};
use model::text::DisplayText;
use std::collections::{BTreeMap, BTreeSet};

/// The writes of a rollback from the entries as they are `now` to those that were `saved`, of the partitions with these GUIDs.
pub fn restored(saved: &BootSettings, now: &BootSettings, partitions: &BTreeSet<String>) -> Vec<VariableWrite> {
    let mut writes = Vec::new();
    // The numbers of then, and what they are now. What is there is found first: it is written over for nothing.
    let mut numbers: BTreeMap<u16, u16> = BTreeMap::new();
    let ours = || saved.of(partitions).filter(|e| e.attributes == BOOT_ATTRIBUTES);
    for entry in ours() {
        let same = |e: &&BootEntry| e.value == entry.value;
        let found = now.entry(entry.number).filter(same).or_else(|| now.entries.iter().find(same));
        numbers.extend(found.map(|found| (entry.number, found.number)));
    }
    let found: BTreeSet<u16> = numbers.values().copied().collect();
    let mut taken: BTreeSet<u16> = now.entries.iter().map(|e| e.number).collect();
    for entry in ours() {
        if numbers.contains_key(&entry.number) {
            continue;
        }
        // One number may stand for another system's entry since.
        let there = now.entry(entry.number).filter(|e| !found.contains(&e.number));
        let changed = there.filter(|e| is_alike(e, entry) && e.attributes == BOOT_ATTRIBUTES);
        let number = match changed.is_some() || !taken.contains(&entry.number) {
            true => entry.number,
            false => match (0..=u16::MAX).find(|n| !taken.contains(n)) {
                Some(free) => free,
                None => continue,
            },
        };
        taken.insert(number);
        numbers.insert(entry.number, number);
        let what = if changed.is_some() { "is made as it was" } else { "is missing, and restored" };
        writes.push(VariableWrite {
            name: name_of(number),
            before: changed.map(|e| e.value.clone()),
            after: Some(entry.value.clone()),
            says: DisplayText::new(&format!("the firmware's boot entry {} {what}", entry.says())),
        });
    }
    let order = order(saved, now, &numbers);
    if order != now.order {
        writes.push(VariableWrite {
            name: ORDER.to_owned(),
            before: now.value(ORDER),
            after: Some(order_value(&order)),
            says: "the order in which the firmware tries its boot entries is made as it was; entries that are new keep their place"
                .into(),
        });
    }
    writes
}

/// The entries that were saved, as they start the same from partitions that have other GUIDs now: `guids` says which. One whose bytes do
/// not hold its partition's GUID where the parser said is left as it is.
pub(crate) fn repointed(saved: &BootSettings, guids: &BTreeMap<String, String>) -> BootSettings {
    let mut out = saved.clone();
    for entry in &mut out.entries {
        let Ok(option) = &mut entry.option else { continue };
        let new = option.partition.as_ref().and_then(|old| Some((guid(old)?, guids.get(old)?)));
        let (Some((old, new)), Some(at)) = (new, option.guid_at) else { continue };
        let place =
            usize::try_from(at).ok().and_then(|at| entry.value.0.get_mut(at..)).and_then(|rest| rest.first_chunk_mut());
        if let (Some(place), Some(bytes)) = (place.filter(|place| **place == old), guid(new)) {
            *place = bytes;
            option.partition = Some(new.clone());
        }
    }
    out
}

/// The bytes of a GUID that is written out, as UEFI lays it out (specification, appendix A): the first three fields are numbers.
pub(crate) fn guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    let byte = |i: usize| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(order) {
        *to = byte(from)?;
    }
    (digits.len() == 32).then_some(out)
}

/// The same writes again, or `back`, for a write-back that is finished or undone; and of those that cannot be, a sentence each.
pub fn again(of: &[VariableWrite], now: &BootSettings, back: bool) -> (Vec<VariableWrite>, Vec<String>) {
    let reversed = |w: &VariableWrite| VariableWrite {
        before: w.after.clone(),
        after: w.before.clone(),
        says: DisplayText::new(&format!("{} of the firmware is made as it was before", w.name)),
        ..w.clone()
    };
    let wanted: Vec<VariableWrite> = match back {
        true => of.iter().rev().map(reversed).collect(),
        false => of.to_vec(),
    };
    let (mut writes, mut left) = (Vec::new(), Vec::new());
    for write in wanted {
        match now.value(&write.name) {
            is if is == write.after => {}
            is if is == write.before => writes.push(write),
            _ => left.push(format!("{} of the firmware was changed since, and is left as it is", write.name)),
        }
    }
    (writes, left)
}

/// The order now with what both have in the order of then, and what is missing in its place behind what stood before it then.
fn order(saved: &BootSettings, now: &BootSettings, numbers: &BTreeMap<u16, u16>) -> Vec<u16> {
    // Others are known by their bytes: the firmware numbers what it finds as it likes.
    let is_now = |then: &u16| {
        let other =
            || now.entry(*then).filter(|e| saved.entry(*then).is_some_and(|s| s.value == e.value)).map(|e| e.number);
        numbers.get(then).copied().or_else(other)
    };
    // Two that were alike then may be one now.
    let mut seen = BTreeSet::new();
    let then: Vec<u16> = saved.order.iter().filter_map(is_now).filter(|n| seen.insert(*n)).collect();
    let mut common = then.iter().copied().filter(|n| now.order.contains(n));
    let mut order: Vec<u16> = Vec::new();
    for number in &now.order {
        order.push(if then.contains(number) { common.next().unwrap_or(*number) } else { *number });
    }
    let ours: BTreeSet<u16> = numbers.values().copied().collect();
    for (at, number) in then.iter().enumerate() {
        if order.contains(number) || !ours.contains(number) {
            continue;
        }
        let before = then[..at].iter().rev().find_map(|n| order.iter().position(|o| o == n));
        order.insert(before.map_or(0, |at| at + 1), *number);
    }
    order
}

/// True where both start something from one directory of one partition: the loaders of one system.
fn is_alike(a: &BootEntry, b: &BootEntry) -> bool {
    let directory = |e: &BootEntry| {
        let LoadOption { partition, file, .. } = e.option.as_ref().ok()?;
        let (directory, _) = file.as_ref()?.as_str().rsplit_once('\\')?;
        Some((partition.clone()?, directory.to_ascii_lowercase()))
    };
    directory(a).is_some() && directory(a) == directory(b)
}

#[cfg(test)]
mod tests;
