//! Databases of SQLite with what lies beside them: rpm's, dnf's and wtmpdb's.

use super::evidence::{at, settled};
use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use crate::sums::Sum;
use crate::tar;
use infer::{Files, Source, parse_database};
use model::ports::{ReadAt, Window};
use model::units::Extent;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "database",
    meets: "SQLite: pages, trees, rows, a write-ahead log, a rollback journal; rpm's headers, dnf's history, wtmpdb's table",
    run,
    seeds: || seeds(&BASES),
};

/// A database and what lies beside it stand this far apart in an image, each behind its length (8 bytes, at the end of its part).
const PART: u64 = 1 << 20;
const SOURCES: [(Source, &str); 3] = [
    (Source::RpmDatabase, "/var/lib/rpm/rpmdb.sqlite"),
    (Source::DnfHistory, "/var/lib/dnf/history.sqlite"),
    (Source::Wtmpdb, "/var/log/wtmp.db"),
];

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let mut bases = Vec::new();
    for kept in [
        &include_bytes!("../../../infer/tests/fixtures/managers/dnf-killed-after.tar.zst")[..],
        include_bytes!("../../../infer/tests/fixtures/managers/dnf-ended.tar.zst"),
        include_bytes!("../../../infer/tests/fixtures/managers/rpm-killed-after.tar.zst"),
    ] {
        let files = tar::files(kept);
        for (name, database) in files.iter().filter(|(name, _)| name.ends_with(".sqlite")) {
            let wal = files.iter().find(|(beside, _)| *beside == format!("{name}-wal"));
            bases.push(base(database, wal.map_or(&[][..], |(_, bytes)| bytes.as_slice()), &[]));
        }
    }
    for kept in [
        &include_bytes!("../../../infer/tests/fixtures/wtmpdb-cut.db.zst")[..],
        include_bytes!("../../../infer/tests/fixtures/wtmpdb-ended.db.zst"),
    ] {
        let database = zstd::stream::decode_all(kept).expect("a fixture");
        let first = database[..4096.min(database.len())].to_vec();
        bases.push(base(&database, &[], &journal(&first)));
        bases.push(base(&database, &[], &[]));
    }
    bases
});

/// A rollback journal that holds one page, the first ("The Rollback Journal").
fn journal(page: &[u8]) -> Vec<u8> {
    let mut out = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for word in [1u32, 7, 3, 512, u32::try_from(page.len()).unwrap_or(0)] {
        out.extend(word.to_be_bytes());
    }
    out.resize(512, 0);
    out.extend(1u32.to_be_bytes());
    out.extend_from_slice(page);
    let bytes =
        (1..).map_while(|n| page.len().checked_sub(n * 200)).take_while(|at| *at > 0).map(|at| u32::from(page[at]));
    out.extend(bytes.fold(7u32, u32::wrapping_add).to_be_bytes());
    out
}

fn base(database: &[u8], wal: &[u8], journal: &[u8]) -> Base {
    let mut image = Image::blank(3 * PART);
    let (mut places, mut sums) = (vec![(0, 100)], Vec::new());
    for (start, bytes) in (0..).map(|n| n * PART).zip([database, wal, journal]) {
        image.put(start, bytes);
        image.put(start + PART - 8, &(bytes.len() as u64).to_le_bytes());
        places.push((start + PART - 8, 4));
    }
    let image = image.settled();
    let page = |at: u64| [(at, 120), (at, 4096), (at + 3500, 596)];
    places.extend((0..database.len() as u64).step_by(4096).flat_map(page));
    if wal.len() > 32 {
        frames(&image, wal.len() as u64, &mut places, &mut sums);
    }
    if journal.len() > 512 {
        places.extend([(2 * PART, 28), (2 * PART + 512, 120)]);
    }
    Base::new(image, places, sums)
}

/// The frames of a write-ahead log, each summed from where the one before it ended ("Checksum Algorithm").
fn frames(image: &Image, len: u64, places: &mut Vec<(u64, u64)>, sums: &mut Vec<Sum>) {
    let big = image.be(PART, 4) & 1 == 1;
    let page = image.be(PART + 8, 4);
    places.push((PART, 32));
    sums.push(Sum::new(vec![(PART, 24)], vec![(PART + 24, 8)], move |b| added([0, 0], b, big)));
    let mut before = PART + 24;
    let mut at = PART + 32;
    while at + 24 + page <= PART + len {
        places.extend([(at, 16), (at + 24, 120), (at + 24, page)]);
        let of = move |bytes: &[u8]| {
            let word = |at: usize| bytes[at..at + 4].iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
            added([word(0), word(4)], &bytes[8..], big)
        };
        sums.push(Sum::new(vec![(before, 8), (at, 8), (at + 24, page)], vec![(at + 16, 8)], of));
        before = at + 16;
        at += 24 + page;
    }
}

fn added(mut from: [u32; 2], bytes: &[u8], big: bool) -> Vec<u8> {
    for pair in bytes.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        let word = |w: [u8; 4]| if big { u32::from_be_bytes(w) } else { u32::from_le_bytes(w) };
        from[0] = from[0].wrapping_add(word([a, b, c, d])).wrapping_add(from[1]);
        from[1] = from[1].wrapping_add(word([e, f, g, h])).wrapping_add(from[0]);
    }
    from.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let bytes = changed.image.bytes();
    let part = |n: u64| {
        let len = changed.image.le((n + 1) * PART - 8, 4).min(PART - 8);
        Extent::between(n * PART, n * PART + len).and_then(|e| Window::new(bytes.clone(), e).ok())
    };
    let (Some(database), wal, journal) = (part(0), part(1), part(2)) else { return };
    let some = |part: &Option<Window>| part.as_ref().is_some_and(|w| w.size().0 > 0);
    let files = Files {
        database: &database,
        wal: wal.as_ref().filter(|_| some(&wal)).map(|w| w as &dyn ReadAt),
        journal: journal.as_ref().filter(|_| some(&journal)).map(|j| j as &dyn ReadAt),
    };
    for (source, path) in SOURCES {
        settled(parse_database(source, &at(path), files));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn frames_have_their_sums() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert!(sums.iter().filter(|n| **n > 10).count() >= 3, "{sums:?}");
    }
}
