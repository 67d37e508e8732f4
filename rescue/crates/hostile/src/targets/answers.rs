//! Answers of a parser that was taken over: what the engine takes of them, and what it does with that.

use crate::Target;
use crate::changes::Dice;
use crate::files::{inspect, source};
use engine::parser::probe::{Taken, honest, take, wanted};
use engine::plan::snapshot::{Scope, keep};
use model::assessment::{Report, SystemReport};
use model::inspection::{Inspection, Volume};
use model::ports::DiskSource;
use model::units::{ByteLen, Extent};
use std::collections::BTreeSet;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "answers",
    meets: "what a parser that was taken over answers: looked at again by the engine, and planned with",
    run,
    seeds,
};

/// The machine that is asked about.
static MACHINE: LazyLock<(Vec<DiskSource>, Report)> = LazyLock::new(|| {
    let disks = vec![source(0, super::machine::image().bytes())];
    let report = inspect(disks.clone());
    (disks, report)
});

/// Size of the disk that a table is fitted to.
const FITTED: ByteLen = ByteLen(40 << 20);

/// An input is JSON, a zero byte, and plain bytes.
fn run(input: &[u8]) {
    let (json, bulk) = match input.iter().position(|b| *b == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[][..]),
    };
    let mut inspection = MACHINE.1.inspection.clone();
    let Ok(taken) = take(json, bulk, &inspection, &wanted(FITTED)) else { return };
    let size = inspection.disks[0].hardware.size;
    let last = inspection.disks[0].volumes.last().map_or(Extent::whole(ByteLen(0)), |v| Extent::whole(v.extent.len()));
    match taken {
        Taken::Table(reading) => {
            let mut seen = BTreeSet::new();
            for (path, extent, _) in &reading.volumes {
                assert!(Extent::whole(size).contains(*extent) && seen.insert(path.clone()), "{path} lies nowhere");
            }
            let volumes = reading.volumes.into_iter();
            inspection.disks[0].table = reading.table;
            inspection.disks[0].volumes = volumes
                .map(|(path, extent, said)| {
                    Volume::on_disk(path, extent, said.unwrap_or(model::inspection::Content::Unknown))
                })
                .collect();
        }
        Taken::Content(content) => {
            if let Some(volume) = inspection.disks[0].volumes.last_mut() {
                volume.content = content;
            }
        }
        Taken::Luks(header) => {
            let volume = inspection.disks[0].volumes.last().expect("a volume that was asked about");
            if let Ok((path, mapping)) = disk::volume::luks::mapping(volume, &header) {
                let sound = mapping.len().is_some_and(|len| mapping.is_sound(len));
                assert!(sound, "{path} is mapped unsoundly");
            }
            return;
        }
        Taken::Layers(layers) => {
            inspection.set_physical(layers.physical);
            for (path, mapping) in layers.volumes {
                let volume = Volume::mapped(path, mapping).expect("a map that was called sound");
                if let Some(mapping) = &volume.mapping {
                    mapping.pieces(volume.extent).take(1000).for_each(drop);
                    mapping.copies();
                }
                inspection.layered.push(volume);
            }
        }
        Taken::Systems(systems) => {
            assert!(systems.iter().all(|s| inspection.volume(&s.root).is_some()), "a system on nothing");
            inspection.systems = systems;
        }
        Taken::Evidence(evidence) => {
            let once = infer::combine(evidence);
            let mut report = MACHINE.1.clone();
            report.systems[0].assessment = infer::assess(&report.systems[0].system, &inspection, &once, None);
            infer::timeline(&report.systems[0].system, &inspection, &once);
            return;
        }
        Taken::Boot(chain) => {
            infer::chain_facts(&chain);
            return;
        }
        Taken::Repairs(repairs) => {
            let inside = |p: &model::boot::Patch| {
                let end = p.at.0.checked_add(p.bytes.len() as u64);
                let len = inspection.volume(&p.volume).map_or(size, |v| v.extent.len());
                end.is_some_and(|end| end <= len.0)
            };
            assert!(repairs.patches.iter().all(inside), "a change outside");
            return;
        }
        Taken::Coverage(coverage) => {
            assert!(coverage.used.iter().all(|e| last.contains(e)), "in use outside the volume");
            return;
        }
        Taken::Changes(changes) => {
            assert!(changes.same.iter().all(|e| last.contains(e)), "unchanged outside the volume");
            return;
        }
        Taken::Cuts(cuts) => {
            assert!(cuts.after(0) > 0, "cuts that do not go on");
            return;
        }
        Taken::Fitted(table) => {
            let inside =
                |m: &model::restore::MadeBytes| Extent::whole(FITTED).contains(m.place) && m.whole(1 << 20).is_some();
            assert!(table.made.iter().all(inside), "a table outside its disk");
            return;
        }
        Taken::Policy(policy) => {
            assert!(policy.is_sound(), "a policy that no text says");
            return;
        }
        Taken::Other => return,
    }
    planned(inspection);
}

/// What is made of an inspection with that in it.
fn planned(inspection: Inspection) {
    let evidence = |system: &model::inspection::System| infer::combine(infer::volume_facts(&inspection, system));
    let judged = |system: &model::inspection::System| {
        let evidence = evidence(system);
        let assessment = infer::assess(system, &inspection, &evidence, None);
        SystemReport { system: system.clone(), assessment, evidence }
    };
    let systems = inspection.systems.iter().map(judged).collect();
    engine::gather::machine(&inspection);
    let report = Report { systems, boot: Vec::new(), inspection };
    keep(&report, None, None, &Scope::default());
    keep(&report, None, None, &Scope::full());
}

/// What an honest parser says, as it is, and with digits of it changed.
fn seeds() -> Vec<Vec<u8>> {
    let (disks, report) = &*MACHINE;
    let mut honest = honest(disks, &report.inspection).unwrap_or_default();
    honest.extend(of_luks().unwrap_or_default());
    let mut dice = Dice(7);
    let mut out = Vec::new();
    for (json, bulk) in honest.into_iter().filter(|(json, bulk)| json.len() + bulk.len() < 20_000) {
        let whole = [&json[..], &[0], &bulk].concat();
        let digits: Vec<usize> = (0..json.len()).filter(|at| json[*at].is_ascii_digit()).collect();
        if !digits.is_empty() {
            let mut changed = whole.clone();
            for _ in 0..2 {
                let at = digits[usize::try_from(dice.below(digits.len() as u64)).unwrap_or(0)];
                changed[at] = b'0' + dice.byte() % 10;
            }
            out.push(changed);
        }
        out.push(whole);
    }
    out
}

/// What an honest parser says of an encrypted volume as large as the last one of that machine.
fn of_luks() -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let volumes = MACHINE.1.inspection.volumes();
    let len = volumes.last().map_or(1 << 20, |(_, v)| v.extent.len().0);
    let disks = vec![source(0, super::luks::image(len).bytes())];
    let report = inspect(disks.clone());
    honest(&disks, &report.inspection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_answers_are_taken() {
        let (disks, report) = &*MACHINE;
        let honest = honest(disks, &report.inspection).unwrap();
        assert!(honest.len() > 30);
        let taken = |(json, bulk): &(Vec<u8>, Vec<u8>)| take(json, bulk, &report.inspection, &wanted(FITTED)).is_ok();
        assert!(honest.iter().filter(|h| taken(h)).count() * 10 > honest.len() * 7);
    }
}
