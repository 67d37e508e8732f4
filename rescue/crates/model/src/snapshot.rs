//! Snapshots: a saved point in time of one machine, as its manifest tells it.

use crate::assessment::SystemReport;
use crate::coverage::{CaptureMethod, Comparison};
use crate::firmware::BootSettings;
use crate::id::{Digest, DiskNo, IntentId, NodeId, SnapshotId, VolumePath};
use crate::inspection::{Content, Hardware, Table, Volume};
use crate::mapping::Mapping;
use crate::ports::UnixMicros;
use crate::signer::SignerId;
use crate::text::DisplayText;
use crate::timeline::Operation;
use crate::units::{ByteLen, Extent, ExtentSet};
use serde::{Deserialize, Serialize};

/// Version of the store's records written by this program (docs/store-format.md).
pub const FORMAT: u32 = 1;

/// The root of a map from volume addresses to content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MapRoot {
    /// The top node.
    pub node: NodeId,
    /// Levels below it: 0 where the node itself is a leaf.
    pub height: u8,
    /// Its content digest: what the plain bytes and the holes are, however they are cut and in whatever store they lie.
    pub content: Digest,
}

/// What a statement says of a map: everything but its place in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MapContent {
    /// The content digest of its root: the plain content, whatever the cutting, the encryption and the store.
    pub content: Digest,
    /// Levels below its root.
    pub height: u8,
}

impl MapContent {
    /// Without the place.
    pub fn of(root: &MapRoot) -> Self {
        Self { content: root.content, height: root.height }
    }

    /// With the place it has in one store.
    pub fn at(&self, node: NodeId) -> MapRoot {
        MapRoot { node, height: self.height, content: self.content }
    }
}

/// Which machine a snapshot is of. Two snapshots are of one machine where the machine id is known and equal, or else where
/// they share a disk's table id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    /// `/etc/machine-id` of the first system found.
    pub machine_id: Option<String>,
    /// Table id of every disk that has one, else the UUID of the file system straight on it.
    pub disks: Vec<String>,
    /// Host name, for people.
    pub hostname: Option<DisplayText>,
}

impl Machine {
    /// True where both are the same machine.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.machine_id, &other.machine_id) {
            (Some(a), Some(b)) => a == b,
            _ => self.disks.iter().any(|d| other.disks.contains(d)),
        }
    }
}

/// Why a snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Purpose {
    /// To keep the state of the machine.
    Keep,
    /// Taken by a rollback before it wrote anything: what `undo` goes back to.
    Undo {
        /// The snapshot the rollback went to.
        before: SnapshotId,
    },
    /// Made by a repair of what starts the machine: the volumes it writes, with what it puts right. That repair goes to it, and
    /// nothing else does by itself.
    Repair,
    /// Composed of two states: a snapshot in which files of another were put in the place of its own. The write-back that it was made for
    /// goes to it, and nothing else does by itself: it was never a state of the machine.
    Composed {
        /// The snapshot that files were put into.
        of: SnapshotId,
        /// The snapshot that they were taken from.
        with: SnapshotId,
    },
}

/// A disk as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDisk<M = MapRoot> {
    /// Its number then.
    pub no: DiskNo,
    /// What the system said of it.
    pub hardware: Hardware,
    /// Its table.
    pub table: Option<Table>,
    /// The raw bytes of the table (the extents of `table.raw`), addressed from the start of the disk.
    pub table_map: Option<M>,
}

/// A volume as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedVolume<M = MapRoot> {
    /// Its path then.
    pub path: VolumePath,
    /// Where it lay on its disk. Of a mapped one: all of it, from 0 on.
    pub extent: Extent,
    /// How its bytes lay on other volumes, where it was none that lay straight on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// What was on it.
    pub content: Content,
    /// How its bytes were chosen.
    pub method: CaptureMethod,
    /// Why so.
    pub why: DisplayText,
    /// Bytes saved (the rest are holes).
    pub captured: ByteLen,
    /// Bytes that could not be read: holes with a reason.
    pub unreadable: ExtentSet,
    /// How it was compared with the snapshot before; absent in snapshots made before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// The name of the state its file system was in ([`crate::coverage::Coverage::state`]), where that was told: a later capture goes on
    /// from an aside where it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Digest>,
    /// Its content.
    pub map: M,
}

impl<M> SavedVolume<M> {
    /// The disks that hold it.
    pub fn disks(&self) -> impl Iterator<Item = DiskNo> + '_ {
        let beneath = self.mapping.iter().flat_map(|m| m.beneath.iter().map(|b| b.path.disk()));
        std::iter::once(self.path.disk()).chain(beneath)
    }

    /// The volume as it was looked at.
    pub fn volume(&self) -> Volume {
        let Self { path, extent, mapping, content, .. } = self;
        Volume { path: path.clone(), extent: *extent, mapping: mapping.clone(), content: content.clone() }
    }
}

/// How a volume was compared with what was saved of it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// By what.
    pub by: Comparison,
    /// Why so.
    pub why: DisplayText,
    /// The snapshot whose bytes were taken over, where any were.
    pub with: Option<SnapshotId>,
    /// How many.
    pub taken_over: ByteLen,
    /// Bytes taken over from what a capture that was stopped had put aside of this very state. All others were read from the volume.
    #[serde(default, skip_serializing_if = "is_none")]
    pub resumed: ByteLen,
}

/// Left out of records, as before it was told.
fn is_none(len: &ByteLen) -> bool {
    *len == ByteLen::ZERO
}

impl Compared {
    /// For people; `read` is what was read of the volume.
    pub fn sentence(&self, read: ByteLen) -> String {
        let mut out = format!("{read} read");
        if self.resumed > ByteLen::ZERO {
            out.push_str(&format!(", {} saved before it was stopped", self.resumed));
        }
        match self.with {
            Some(id) => out.push_str(&format!(", {} as in snapshot {} ({})", self.taken_over, id.0.short(8), self.why)),
            None if self.resumed > ByteLen::ZERO => out.push_str(&format!(" ({})", self.why)),
            None => out.push_str(&format!(": all of it ({})", self.why)),
        }
        out
    }
}

/// What was read of a volume, and how it was compared with what was saved of it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRead {
    /// The volume.
    pub path: VolumePath,
    /// Bytes read of it, those that could not be read among them.
    pub read: ByteLen,
    /// Bytes that could not be read, and are not saved.
    #[serde(default)]
    pub unreadable: ByteLen,
    /// What was not read, and why so.
    pub compared: Compared,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes read from the target.
    pub read: ByteLen,
    /// Bytes found in the store already.
    pub shared: ByteLen,
    /// Bytes of new content, before compression.
    pub new: ByteLen,
    /// Bytes added to the store.
    pub stored: ByteLen,
}

/// A snapshot that was just taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its id.
    pub id: SnapshotId,
    /// What it cost.
    pub cost: Cost,
    /// What was read of each volume, and how it was compared with what was saved before.
    pub volumes: Vec<VolumeRead>,
}

/// The record of a snapshot: written last, after everything it names. With [`MapContent`] for a map it is the
/// [`Statement`], which is the same in every store that holds the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest<M = MapRoot> {
    /// [`FORMAT`].
    pub format: u32,
    /// Greater than that of every snapshot that was in the store before it: what orders them. Clocks do not.
    pub counter: u64,
    /// The id of the store it was first written to, 32 hexadecimal digits.
    pub origin: String,
    /// The snapshot of the same machine before it.
    pub parent: Option<SnapshotId>,
    /// Why it was taken.
    pub purpose: Purpose,
    /// Which machine.
    pub machine: Machine,
    /// When, by the clock of the machine that took it.
    pub taken: UnixMicros,
    /// What was known of each installed system, with the evidence.
    pub systems: Vec<SystemReport>,
    /// The disks.
    pub disks: Vec<SavedDisk<M>>,
    /// The volumes.
    pub volumes: Vec<SavedVolume<M>>,
    /// What the machine's firmware started; absent where it had no boot entries, or they were not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<BootSettings>,
    /// What it cost.
    pub cost: Cost,
}

/// What a snapshot says. The hash of its encoding is the snapshot's id, and what is signed.
pub type Statement = Manifest<MapContent>;

impl<M> Manifest<M> {
    /// What was read of each volume and how it was compared, where that is told.
    pub fn compared(&self) -> Vec<VolumeRead> {
        let told = |v: &SavedVolume<M>| {
            let compared = v.compared.clone()?;
            let not_read = compared.taken_over.0.saturating_add(compared.resumed.0);
            let read = ByteLen(v.captured.0.saturating_add(v.unreadable.total().0).saturating_sub(not_read));
            Some(VolumeRead { path: v.path.clone(), read, unreadable: v.unreadable.total(), compared })
        };
        self.volumes.iter().filter_map(told).collect()
    }

    /// True where every volume was read whole, as far as that is told: what was written below its file system was seen too.
    pub fn read_everything(&self) -> bool {
        let whole = |v: &SavedVolume<M>| v.compared.as_ref().is_some_and(|c| c.by == Comparison::Content);
        self.volumes.iter().all(whole)
    }

    /// Every map, in the order in which the statement names them: tables by disk, then volumes.
    pub fn maps(&self) -> impl Iterator<Item = &M> {
        self.disks.iter().filter_map(|d| d.table_map.as_ref()).chain(self.volumes.iter().map(|v| &v.map))
    }

    /// The same with other maps, made in the order of [`Manifest::maps`].
    fn with_maps<N>(self, f: &mut impl FnMut(M) -> N) -> Manifest<N> {
        let Self { format, counter, origin, parent, purpose, machine, taken, systems, disks, volumes, firmware, cost } =
            self;
        let disk = |SavedDisk { no, hardware, table, table_map }, f: &mut dyn FnMut(M) -> N| SavedDisk {
            no,
            hardware,
            table,
            table_map: table_map.map(f),
        };
        let disks = disks.into_iter().map(|d| disk(d, f)).collect();
        let volume = |v: SavedVolume<M>, f: &mut dyn FnMut(M) -> N| {
            let SavedVolume { path, extent, mapping, content, method, why, captured, unreadable, compared, state, map } =
                v;
            let map = f(map);
            SavedVolume { path, extent, mapping, content, method, why, captured, unreadable, compared, state, map }
        };
        let volumes = volumes.into_iter().map(|v| volume(v, f)).collect();
        Manifest { format, counter, origin, parent, purpose, machine, taken, systems, disks, volumes, firmware, cost }
    }
}

impl Statement {
    /// The manifest of one store, where there is a node for each map and no more.
    pub fn placed(self, nodes: &[NodeId]) -> Option<Manifest> {
        if self.maps().count() != nodes.len() {
            return None;
        }
        let mut nodes = nodes.iter();
        let mut whole = true;
        let placed = self.with_maps(&mut |map| {
            let node = nodes.next().copied();
            whole &= node.is_some();
            map.at(node.unwrap_or(NodeId(Digest([0; 32]))))
        });
        whole.then_some(placed)
    }
}

impl Manifest {
    /// What it says, without the maps' places.
    pub fn statement(&self) -> Statement {
        self.clone().with_maps(&mut |root| MapContent::of(&root))
    }

    /// True where every system in it was good then (and there is one).
    pub fn is_good(&self) -> bool {
        !self.systems.is_empty() && self.systems.iter().all(|s| s.assessment.is_good())
    }

    /// The line of a timeline, without what notes and signatures say.
    pub fn summary(&self, id: SnapshotId) -> SnapshotSummary {
        SnapshotSummary {
            id,
            counter: self.counter,
            purpose: self.purpose,
            machine: self.machine.clone(),
            taken: self.taken,
            system: self.systems.first().map(|s| s.system.name.clone()),
            headline: self.systems.first().map(|s| s.assessment.headline.clone()),
            kernel: self.systems.first().and_then(SystemReport::kernel),
            packages: self.systems.first().and_then(SystemReport::packages),
            operation: self.systems.first().and_then(SystemReport::operation),
            // A state that was never there was never in order.
            good: self.is_good() && !matches!(self.purpose, Purpose::Composed { .. }),
            captured: ByteLen(self.volumes.iter().map(|v| v.captured.0).fold(0, u64::saturating_add)),
            cost: self.cost,
            label: None,
            pinned: false,
            proven: None,
            unproven: None,
            signers: Vec::new(),
        }
    }
}

/// A snapshot in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// Its id.
    pub id: SnapshotId,
    /// What orders it.
    pub counter: u64,
    /// Why it was taken.
    pub purpose: Purpose,
    /// Which machine.
    pub machine: Machine,
    /// When.
    pub taken: UnixMicros,
    /// The first system in it.
    pub system: Option<DisplayText>,
    /// What was known of it then.
    pub headline: Option<DisplayText>,
    /// The version of its newest kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<DisplayText>,
    /// How many packages it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<u32>,
    /// The newest package operation that was on record in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Good then.
    pub good: bool,
    /// Bytes it holds.
    pub captured: ByteLen,
    /// What it cost.
    pub cost: Cost,
    /// What somebody called it.
    pub label: Option<DisplayText>,
    /// Kept whatever a policy says.
    pub pinned: bool,
    /// How it was proven that it can be restored, where it was.
    pub proven: Option<DisplayText>,
    /// Why it is not, where it was tried last without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<DisplayText>,
    /// Who signed it; every signature was verified.
    pub signers: Vec<SignerId>,
}

/// A snapshot as it is shown whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// Its line of the list, with what notes and signatures say.
    pub summary: SnapshotSummary,
    /// What its record says.
    pub statement: Statement,
}

/// A write-back that was begun: everything needed to finish or to undo it, put into the store before the first byte is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// [`FORMAT`].
    pub format: u32,
    /// The plan that was approved.
    pub plan: crate::plan::RollbackPlan,
    /// The undo snapshot taken before it; a restore onto other disks has none, and cannot be undone.
    pub undo: Option<SnapshotId>,
    /// Where there is no undo snapshot, whose number would tell: the number of the newest snapshot in the store then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// When it began.
    pub begun: UnixMicros,
}

impl Intent {
    /// The id of an intent, from its encoded bytes.
    pub fn id(encoded: &[u8]) -> IntentId {
        IntentId(Digest::of(encoded))
    }
}

/// How a write-back ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: u32,
    /// The intent it ends.
    pub intent: IntentId,
    /// The snapshot the disks now hold: the plan's, or the undo snapshot.
    pub holds: SnapshotId,
    /// Bytes written, tables and heads included.
    pub written: ByteLen,
    /// Bytes read back and compared.
    pub verified: ByteLen,
    /// When it ended.
    pub ended: UnixMicros,
}
