//! An EFI system partition that several systems start from, in two states: whose what is, and how the one is put into the other.

use super::fat;
use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::answered;
use crate::image::Image;
use engine::parser::{Local, Parser, State};
use model::esp::{EspReading, Graft, Tenancy, Tenant};
use model::id::{DiskNo, VolumePath};
use model::inspection::OS_WINDOWS;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "esp",
    meets: "two states of a FAT: loader entries, directories of boot loaders, what stays of the later one put into the earlier one",
    run,
    seeds: || seeds(&BASES),
};

/// In each base the earlier state lies before the later one.
static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 2] = [include_bytes!("../../bases/esp12.zst"), include_bytes!("../../bases/esp32.zst")];
    let both = |kept| {
        let image = Image::unpack(kept);
        let half = image.len() / 2;
        let places = |nth| fat::places(&image.part(nth, half)).into_iter().map(move |(at, len)| (nth * half + at, len));
        let places = places(0).chain(places(1)).collect();
        Base::new(image, places, Vec::new())
    };
    kept.into_iter().map(both).collect()
});

fn tenancy() -> Tenancy {
    let tenant = |name: &str, os: &str, uuid: &str| Tenant {
        name: name.into(),
        os: os.into(),
        machine_id: None,
        uuids: vec![uuid.to_owned()],
        boot: os != OS_WINDOWS,
    };
    Tenancy {
        going: vec![tenant("Debian", "debian", "aaaaaaaa-0000-4000-8000-00000000000a")],
        staying: vec![
            tenant("another Debian", "debian", "bbbbbbbb-0000-4000-8000-00000000000b"),
            tenant("Windows", OS_WINDOWS, "0123456789abcdef"),
        ],
    }
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let both = changed.image.settled();
    let half = both.len() / 2;
    let (mut then, now) = (both.part(0, half), both.part(1, half));
    let parser = Local::new(Vec::new());
    let ask = |then: &Image, now: &Image| -> Option<EspReading> {
        let state = |image: &Image| {
            let (content, _) = disk::content::identify(&VolumePath::whole(DiskNo(0)), &image.bytes());
            State { content, bytes: image.bytes() }
        };
        answered(parser.esp(&state(then), &state(now), &tenancy()))
    };
    let Some(EspReading { graft: Ok(graft), .. }) = ask(&then, &now) else { return };
    put(&graft, &mut then, &now);
    // What was composed is looked at once more.
    ask(&then, &now);
}

/// Makes the one state of both, as the engine does.
fn put(graft: &Graft, then: &mut Image, now: &Image) {
    for copy in &graft.copies {
        then.put(copy.to.0, &now.get(copy.from.0, usize::try_from(copy.len.0).unwrap_or(0)));
    }
    for (at, bytes) in &graft.patches {
        then.put(at.0, bytes);
    }
}
