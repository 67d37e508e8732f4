//! What is read of an image here.

use disk::fs::FileSystem;
use engine::gather;
use engine::parser::Local;
use infer::Packages;
use model::evidence::{Evidence, Fact, PackageManager};
use model::id::DiskNo;
use model::inspection::Hardware;
use model::ports::{DiskSource, ReadAt, UnixMicros, Window};
use model::text::DisplayText;
use qemu_tests::Result;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use sys::device::DiskBytes;

/// A start in the journal: its id, when its first and last entries were written (microseconds since 1970), and how many there are.
pub(crate) type Start = (String, i64, i64, u64);
/// A start in the login record and the shutdown after it, in seconds since 1970.
pub(crate) type Login = (i64, Option<i64>);

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) starts: Vec<Start>,
    pub(crate) logins: Vec<Login>,
    /// Name and version of each package that is there.
    pub(crate) packages: Vec<(String, String)>,
    /// The last line of dpkg's log, and its time.
    pub(crate) last_line: Vec<(i64, String)>,
    /// When each transaction of apt began, and the first 64 packages of it.
    pub(crate) transactions: Vec<(i64, Vec<String>)>,
}

impl Ours {
    pub(crate) fn of(image: &Path) -> Result<Self> {
        let bytes: Arc<dyn ReadAt> = Arc::new(DiskBytes::from_descriptor(File::open(image)?.into())?);
        let hardware = Hardware::image("image", bytes.size());
        let disks = vec![DiskSource { no: DiskNo(0), hardware, bytes: bytes.clone(), clear: None }];
        let report = gather::report(&disks, &Local::new(disks.clone()), &|_| None);
        let system = report.systems.first().ok_or("no system is found in it")?;
        let volume = report.inspection.volume(&system.system.root).ok_or("its root is not there")?;
        let fs = disk::fs::open(&volume.content, Arc::new(Window::new(bytes, volume.extent)?))?;
        let evidence = &system.evidence;
        Ok(Self {
            starts: evidence.iter().filter_map(start).rev().collect(),
            logins: evidence.iter().filter_map(logins).flatten().collect(),
            packages: packages(&*fs)?,
            last_line: evidence.iter().filter_map(last_line).collect(),
            transactions: evidence.iter().filter_map(transaction).rev().collect(),
        })
    }
}

fn seconds(at: UnixMicros) -> i64 {
    at.0.div_euclid(1_000_000)
}

fn time(evidence: &Evidence) -> i64 {
    evidence.time.map_or(0, |t| seconds(t.at))
}

fn start(evidence: &Evidence) -> Option<Start> {
    match &evidence.fact {
        Fact::Boot { boot_id, first, last, order: Some(order), .. } => {
            Some((boot_id.clone(), first.0, last.0, order.last - order.first + 1))
        }
        _ => None,
    }
}

/// Oldest first.
fn logins(evidence: &Evidence) -> Option<Vec<Login>> {
    let Fact::WtmpLastBoot { ended, before, .. } = &evidence.fact else { return None };
    let older = before.iter().rev().map(|s| (seconds(s.began), s.ended.map(seconds)));
    Some(older.chain([(time(evidence), ended.map(seconds))]).collect())
}

fn last_line(evidence: &Evidence) -> Option<(i64, String)> {
    match &evidence.fact {
        Fact::DpkgLogTail { line } => Some((time(evidence), line.as_str().to_owned())),
        _ => None,
    }
}

fn transaction(evidence: &Evidence) -> Option<(i64, Vec<String>)> {
    match &evidence.fact {
        Fact::Transaction { manager: PackageManager::Apt, packages, .. } => {
            let mut names: Vec<String> = packages.iter().map(|p| p.as_str().to_owned()).collect();
            names.sort();
            Some((time(evidence), names))
        }
        _ => None,
    }
}

/// As the database has them: what lies in `updates/`, dissect.target does not look at.
fn packages(fs: &dyn FileSystem) -> Result<Vec<(String, String)>> {
    let mut packages = Packages::default();
    packages.add_status(&*fs.open(b"/var/lib/dpkg/status")?.ok_or("dpkg has no database")?)?;
    let all = Packages::default().differences(&packages);
    // `NAME:ARCHITECTURE`, and `VERSION (STATE)`.
    let before = |text: &DisplayText, ends: char| text.as_str().split(ends).next().unwrap_or_default().to_owned();
    let versions = all.changes.iter().filter_map(|p| Some((before(&p.name, ':'), before(p.after.as_ref()?, ' '))));
    if all.count != all.changes.len() as u64 {
        return Err(format!("{} packages are more than are told", all.count).into());
    }
    Ok(versions.collect())
}
