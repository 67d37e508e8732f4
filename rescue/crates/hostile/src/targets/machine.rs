//! A whole machine: table, ESP, /boot, root and swap, looked at as `inspect` does, and planned for.

use super::table::gpt_sums;
use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::{answered, inspect, source};
use crate::image::Image;
use engine::parser::{Local, Parser};
use engine::plan::snapshot::{Scope, keep};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "machine",
    meets: "a Debian's disk: systems, fstab, evidence, boot chain and its repairs, by way of real file systems; the plan of a snapshot",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let image = image();
    // Every block of 512 bytes in use, but those of tables of inodes and of programs, which others have.
    let text = |at: &u64| {
        let block = image.get(*at, 512);
        block.iter().filter(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\n' | b'\t')).count() > 20
    };
    let mut places: Vec<(u64, u64)> = vec![(0, 512), (512, 92), (1024, 640), (16384 * 1024, 512)];
    places.extend(image.blocks().flat_map(|at| (at..at + 4096).step_by(512)).filter(text).map(|at| (at, 512)));
    let sums = gpt_sums(&image);
    vec![Base::new(image, places, sums)]
});

/// A machine as it was installed.
pub(super) fn image() -> Image {
    Image::unpack(include_bytes!("../../bases/machine.zst"))
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let disks = vec![source(0, changed.image.bytes())];
    let report = inspect(disks.clone());
    answered(Local::new(disks).boot_repairs(&report.inspection));
    let plan = keep(&report, None, None, &Scope::default());
    let there = plan.volumes.iter().all(|v| report.inspection.volume(&v.path).is_some());
    assert!(there, "a plan of volumes that are not there");
    for system in &report.systems {
        let told = engine::gather::timeline(&report.inspection, system);
        assert!(told.len() <= 64, "a timeline without end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_system_is_found_and_starts() {
        let report = inspect(vec![source(0, image().bytes())]);
        assert_eq!(report.systems.len(), 1, "{:?}", report.inspection.findings);
        assert!(report.systems[0].system.boot.len() >= 2 && BASES[0].sums() == 4, "{:?}", report.systems[0].system);
        assert!(report.boot[0].links.len() > 8, "{:?}", report.boot);
    }
}
