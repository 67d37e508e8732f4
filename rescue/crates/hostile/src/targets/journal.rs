//! systemd's journal files.

use super::evidence::{at, settled};
use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use infer::{Source, parse};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "journal",
    meets: "systemd's journal files: header, arrays, entries, fields, compressed data",
    run,
    seeds: || seeds(&BASES),
};

/// Most objects that are places.
const MOST_OBJECTS: usize = 40_000;

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 2] = [
        include_bytes!("../../../infer/tests/fixtures/cut.journal.zst"),
        include_bytes!("../../../infer/tests/fixtures/ended-then-cut.journal.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

/// The header, and every object: its head, and all of it (systemd `src/libsystemd/sd-journal/journal-def.h`).
fn base(image: Image) -> Base {
    let mut places = vec![(0, 272), (64, 128)];
    let mut at = image.le(88, 8);
    while places.len() < MOST_OBJECTS {
        let (kind, len) = (image.le(at, 1), image.le(at + 8, 8));
        if len < 16 || at + len > image.len() {
            break;
        }
        // Entries and arrays steer; what they lead to is data.
        if matches!(kind, 3 | 6) {
            places.extend([(at, 64), (at, len)]);
        } else if places.len() % 8 == 0 {
            places.push((at, len.min(96)));
        }
        at += len.next_multiple_of(8);
    }
    Base::new(image, places, Vec::new())
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let path = if changed.flags & 1 == 0 {
        "/var/log/journal/m/system.journal"
    } else {
        "/var/log/journal/m/system@1.journal~"
    };
    settled(parse(Source::Journal, &at(path), &changed.image));
}
