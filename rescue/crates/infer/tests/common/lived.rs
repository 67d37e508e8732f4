//! Histories that machines lived in QEMU: what they left, and what `dumpe2fs`, `last` and others say of it.

use super::histories::{History, system};
use infer::{assess, combine, volume_facts};
use model::assessment::Assessment;
use model::evidence::Evidence;
use model::id::{Digest, DiskNo, VolumePath};
use model::inspection::{Content, Disk, ExtInfo, FsKind, Hardware, Inspection, SwapInfo, System, Volume};
use model::units::{ByteLen, Extent};
use std::path::Path;

fn swap() -> VolumePath {
    VolumePath::partition(DiskNo(0), 3)
}

/// A machine's history, and what is known of it otherwise.
pub(crate) struct Lived {
    pub(crate) history: History,
    oracle: Vec<(String, String)>,
    system: System,
}

impl Lived {
    /// One that has an archive of its own.
    pub(crate) fn of(folder: &str, name: &str) -> Self {
        Self::new(History::within(folder, name), system())
    }

    /// One of a Debian, in that folder.
    pub(crate) fn debian(folder: &Path) -> Self {
        let os = ("debian".into(), "12".into());
        let swap = ("none".into(), swap());
        Self::new(History::at(folder), System { os, other: vec![swap], ..system() })
    }

    fn new(history: History, system: System) -> Self {
        let words = |line: String| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let oracle = history.oracle().into_iter().filter_map(words).collect();
        Self { history, oracle, system }
    }

    /// What stands behind every line of that key.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        self.oracle.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn value(&self, key: &str) -> &str {
        let line = self.oracle.iter().find(|(k, _)| k == key);
        &line.unwrap_or_else(|| panic!("no {key}: {:?}", self.oracle)).1
    }

    pub(crate) fn number(&self, key: &str) -> i64 {
        self.value(key).parse().unwrap()
    }

    /// The newest start that `last -x` tells of, and the shutdown after it, in seconds since 1970.
    pub(crate) fn last(&self) -> (i64, Option<i64>) {
        let lines = self.oracle.iter().filter(|(key, _)| key == "last").map(|(_, line)| line.split_once(' ').unwrap());
        let mut ended = None;
        for (what, at) in lines.map(|(what, at)| (what, at.parse().unwrap())) {
            match what {
                "reboot" => return (at, ended),
                "shutdown" => ended = ended.or(Some(at)),
                _ => {}
            }
        }
        panic!("no start: {:?}", self.oracle);
    }

    pub(crate) fn inspection(&self) -> Inspection {
        let info = ExtInfo {
            kind: FsKind::Ext4,
            uuid: "6d2b4f0e-0000-4000-8000-000000000001".into(),
            label: "".into(),
            block_size: 4096,
            blocks: 1000,
            free_blocks: 500,
            needs_recovery: self.value("root") == "open",
            state: 1,
            errors: 0,
            has_journal: true,
            mount_count: u16::try_from(self.number("mounts")).unwrap(),
            mounted_at: self.number("mounted"),
            written_at: self.number("written"),
            made_at: self.values("made").first().map_or(1, |made| made.parse().unwrap()),
            checked_at: 1,
            last_mounted: self.value("on").into(),
            kbytes_written: 1234,
            journal_sequence: Some(99),
            last_commit_at: None,
            unknown_features: (0, 0, 0),
        };
        let path = VolumePath::partition(DiskNo(0), 2);
        let extent = Extent::between(2 << 20, 3 << 20).unwrap();
        let mut volumes = vec![Volume { path, extent, mapping: None, content: Content::Ext(info) }];
        // What the machine's swap area begins with, where it had one.
        if let [signature] = self.values("swap")[..] {
            let hibernated = signature == "S1SUSPEND";
            let content = Content::Swap(SwapInfo { uuid: None, label: "".into(), page_size: 4096, hibernated });
            let extent = Extent::between(4 << 20, 5 << 20).unwrap();
            volumes.push(Volume { path: swap(), extent, mapping: None, content });
        }
        let hardware = Hardware::image("", ByteLen(16 << 20));
        let disk = Disk { no: DiskNo(0), hardware, head: Digest::of(b""), table: None, volumes };
        Inspection { disks: vec![disk], ..Inspection::default() }
    }

    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let mut all = volume_facts(&self.inspection(), &self.system);
        all.extend(self.history.evidence());
        combine(all)
    }

    pub(crate) fn assessed(&self) -> Assessment {
        assess(&self.system, &self.inspection(), &self.evidence(), None)
    }
}
