//! Many roots in one store: machines that were installed apart and have much in common. What is measured is the store's size.
//!
//! One root after the other is made, saved by each contender into its own store, and deleted.

use super::contender::{CONTENDERS, Contender};
use super::filling::Noise;
use super::grid::Grid;
use super::input::Scale;
use super::mount::Mounted;
use super::place::Place;
use super::record::{By, Record};
use super::samples::megabytes;
use super::{OURS, digest, size};
use qemu_tests::Result;
use qemu_tests::machine::run;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Raised where the making of the roots changes.
const RECIPE: u8 = 1;
/// Who takes part; [`GRID`] besides.
const TAKING_PART: &[&str] = &[OURS, "restic", "borg-zstd"];
/// What Holdfast's store would hold if every volume were cut on a fixed grid ([`super::grid`]).
pub(super) const GRID: &str = "fixed grid";
const MIB: u64 = 1 << 20;
/// Bytes of disk that the saving of one root needs, in all stores.
const DISK: u64 = 700_000_000;

/// What each root has, and what it has some of.
const ALWAYS: &str = "systemd-sysv,udev,openssh-server,less,ca-certificates,python3";
const SOME: &[&str] = &[
    "apache2",
    "bind9",
    "build-essential",
    "default-jre-headless",
    "dovecot-imapd",
    "emacs-nox",
    "gdb",
    "git",
    "haproxy",
    "imagemagick",
    "locales-all",
    "man-db",
    "mariadb-server",
    "nginx",
    "nodejs",
    "perl-doc",
    "php-cli",
    "postfix",
    "postgresql",
    "python3-numpy",
    "python3-django",
    "qemu-utils",
    "redis-server",
    "ruby",
    "samba",
    "snmpd",
    "squid",
    "vim",
];

/// A machine to be installed.
struct Root {
    /// Also the name of its capture.
    name: String,
    suite: &'static str,
    packages: String,
    uuid: String,
    /// Bytes of its file system.
    size: u64,
}

/// What is known after one more root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    name: String,
    suite: String,
    /// Bytes in use of its file system.
    used: u64,
    /// Bytes of each store, this root and all before in it.
    stores: BTreeMap<String, u64>,
}

/// So many roots of each release, each with so many of [`SOME`].
fn plan(scale: &Scale) -> Vec<Root> {
    let (counts, some): (&[(&'static str, usize)], usize) = match scale.name {
        "full" => (&[("bookworm", 10), ("trixie", 5)], 8),
        _ => (&[("bookworm", 2), ("trixie", 1)], 2),
    };
    let mut noise = Noise::new(0x7f4a_7c15_9e37_79b9);
    let mut roots = Vec::new();
    for (suite, count) in counts {
        for n in 1..=*count {
            let mut pool = SOME.to_vec();
            let mut packages = vec![ALWAYS];
            for _ in 0..some {
                packages.push(pool.swap_remove(noise.below(pool.len())));
            }
            roots.push(Root {
                name: format!("{suite}-{n:02}"),
                suite,
                packages: packages.join(","),
                uuid: format!("7f1a0c1e-4c0b-4b7e-9d0e-{:012x}", roots.len() + 0x30),
                size: (2048 + 128 * noise.below(16) as u64) * MIB,
            });
        }
    }
    roots
}

/// Makes and saves all roots; gives what was measured.
///
/// # Errors
/// Where a root cannot be made, or a contender fails.
pub(super) fn measure(scale: &Scale, folder: &Path, program: &Path, by: &By) -> Result<Record<Stored>> {
    let dir = folder.join("roots");
    let file = file(folder);
    let roots = plan(scale);
    let mut of = format!("{RECIPE} {}", digest(program)?);
    for root in &roots {
        let _ = write!(of, " {}={} {}", root.name, root.packages, root.size);
    }
    let mut record = Record::taken_up(&file, &of, by);
    if record.rows.is_empty() && dir.exists() {
        run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
    }
    fs::create_dir_all(&dir)?;
    super::input::room(DISK * roots.len() as u64, &dir)?;
    for (n, root) in roots.iter().enumerate().skip(record.rows.len()) {
        println!("== root {} of {}: {}: {}", n + 1, roots.len(), root.name, root.packages);
        let image = dir.join("root.img");
        let used = install(root, &image, &dir)?;
        let mut stores = BTreeMap::new();
        for contender in contenders() {
            stores.insert(contender.name.to_owned(), store(contender, root, &image, &dir, program)?);
        }
        let free = qemu_tests::large::free(&image.display().to_string())?;
        stores.insert(GRID.to_owned(), Grid::open(&dir.join("grid"))?.add(&image, &free)?);
        for (name, bytes) in &stores {
            println!("{name:<10} {:>8.1} MB", megabytes(*bytes));
        }
        fs::remove_file(image)?;
        let row = Stored { name: root.name.clone(), suite: root.suite.to_owned(), used, stores };
        record.add(row, &file)?;
    }
    record.end(&file)?;
    run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
    Ok(record)
}

/// Where what was measured is kept.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("roots.json")
}

fn contenders() -> impl Iterator<Item = &'static Contender> {
    CONTENDERS.iter().filter(|c| TAKING_PART.contains(&c.name))
}

/// Saves a root; gives the size of the store. A root whose saving was cut off is saved again under another name.
fn store(contender: &Contender, root: &Root, image: &Path, dir: &Path, program: &Path) -> Result<u64> {
    let mut place = Place::new(&dir.join(contender.name), program)?;
    place.work = image.to_path_buf();
    if !place.store.exists() {
        place.prepare(contender)?;
    }
    place.save(contender, &format!("{}-{}", root.name, std::process::id()))?;
    size(&place.store)
}

/// Installs a root into a file system of its own; gives the bytes in use.
fn install(root: &Root, image: &Path, dir: &Path) -> Result<u64> {
    if image.exists() {
        fs::remove_file(image)?;
    }
    File::create(image)?.set_len(root.size)?;
    let seeds = format!("hash_seed={}", root.uuid);
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-U", &root.uuid, "-E", &seeds]).arg(image))?;
    let mounted = Mounted::writable(image, &dir.join("root"), "noatime")?;
    let sources = qemu_tests::target::sources_of(root.suite, &dir.join(root.suite))?;
    let log = dir.join("install.log");
    let words = File::create(&log)?;
    let status = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=apt", "--format=directory", "--dpkgopt=force-unsafe-io"])
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--include", &root.packages])
        .arg(format!("--customize-hook=echo {} >\"$1/etc/hostname\"", root.name))
        .arg(root.suite)
        .arg(mounted.path())
        .args(&sources)
        .stdin(Stdio::null())
        .stdout(words.try_clone()?)
        .stderr(words)
        .status()?;
    if !status.success() {
        return Err(format!("mmdebstrap ended with {status}; {} says why", log.display()).into());
    }
    let used = mounted.used()?;
    mounted.unmount()?;
    Ok(used)
}

/// The store of Holdfast, of the smallest peer's.
pub(super) fn of_smallest_peer(record: &Record<Stored>) -> Option<f64> {
    let last = &record.rows.last()?.stores;
    let peers = last.iter().filter(|(name, _)| *name != OURS && *name != GRID);
    let smallest = peers.map(|(_, bytes)| *bytes).min()?;
    Some(megabytes(*last.get(OURS)?) / megabytes(smallest))
}

/// The section of the page.
pub(super) fn section(record: &Record<Stored>) -> String {
    let mut out = String::new();
    let (debian12, debian13) = record.rows.iter().partition::<Vec<_>, _>(|r| r.suite == "bookworm");
    let used: u64 = record.rows.iter().map(|r| r.used).sum();
    let _ = writeln!(
        out,
        "{} roots of Debian 12 and {} of Debian 13, each installed for itself from the archive with packages by a fixed \
         seed, in an ext4 of its own: {:.0} MB in use in all. They are saved one after the other into one store of each \
         contender. No two are of the same machine, so nothing is known to be the same before it is read. `{GRID}`: what every \
         volume's used cells of 64 KiB come to where each is kept once, in frames of 4 MiB by zstd's level 3, without any \
         map or index: counted, not stored.\n",
        debian12.len(),
        debian13.len(),
        megabytes(used)
    );
    let names: Vec<&str> = TAKING_PART.iter().copied().chain([GRID]).collect();
    let _ = writeln!(out, "| after | in use, MB | {} |", names.join(", MB | ") + ", MB");
    let _ = writeln!(out, "| --- | --- |{}", " --- |".repeat(names.len()));
    let mut sum = 0;
    for (n, row) in record.rows.iter().enumerate() {
        sum += row.used;
        let _ = write!(out, "| {} ({}) | {:.0} |", n + 1, row.name, megabytes(sum));
        for name in &names {
            let _ = write!(out, " {:.0} |", megabytes(row.stores.get(*name).copied().unwrap_or_default()));
        }
        out.push('\n');
    }
    let _ = write!(out, "| in use, of the store | |");
    for name in &names {
        let store = record.rows.last().and_then(|r| r.stores.get(*name)).copied().unwrap_or_default();
        let _ = write!(out, " {:.2} |", megabytes(used) / megabytes(store.max(1)));
    }
    out.push_str("\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::input::SCALES;
    use super::*;

    #[test]
    fn roots_differ_and_overlap() {
        let roots = plan(&SCALES[0]);
        assert_eq!((roots.len(), roots.iter().filter(|r| r.suite == "trixie").count()), (15, 5));
        for (n, root) in roots.iter().enumerate() {
            assert!(roots[..n].iter().all(|r| r.uuid != root.uuid && r.packages != root.packages), "{}", root.name);
        }
        for package in SOME {
            assert!(roots.iter().any(|r| r.packages.split(',').any(|p| p == *package)), "{package} is in none");
        }
    }

    #[test]
    fn the_grid_is_no_peer() {
        let sizes = [(OURS, 90), (GRID, 10), ("restic", 120), ("borg-zstd", 100)];
        let stores = sizes.into_iter().map(|(name, mb)| (name.to_owned(), mb * 1_000_000)).collect();
        let row = Stored { name: "a".to_owned(), suite: "trixie".to_owned(), used: 300_000_000, stores };
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::taken_up(&dir.path().join("none"), "", &By::default());
        assert!(of_smallest_peer(&record).is_none());
        record.rows.push(row);
        assert!((of_smallest_peer(&record).unwrap() - 0.9).abs() < 1e-9);
        assert!(
            section(&record).contains("| in use, of the store | | 3.33 | 2.50 | 3.00 | 30.00 |"),
            "{}",
            section(&record)
        );
    }
}
