//! Frames being gathered from new chunks.

use crate::footer::MAX_FRAME;
use crate::layout::{big, small};
use crate::pack::Kind;
use crate::pieces::Pieces;
use model::id::Digest;

/// Most chunks of a frame: with what each costs besides its bytes, the frames being gathered must fit the room there is.
const MOST_CHUNKS: usize = 4096;

/// Most plain bytes of a frame that does not get smaller by being large, and is read whole for one chunk of it.
const SMALL_FRAME: usize = 1 << 20;

/// What goes together into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Data that most likely gets smaller.
    Data,
    /// Data that most likely does not: stored plain, so that nothing is computed for nothing, now and at every reading.
    Noise,
    /// Map nodes.
    Nodes,
}

impl Lane {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Data | Self::Noise => Kind::Data,
            Self::Nodes => Kind::Node,
        }
    }

    /// Most plain bytes of its frames.
    fn most(self) -> usize {
        match self {
            Self::Data => big(MAX_FRAME),
            Self::Noise | Self::Nodes => SMALL_FRAME,
        }
    }
}

/// A frame being gathered.
pub(super) struct Draft {
    pub(super) lane: Lane,
    pub(super) plain: Vec<u8>,
    /// Plain bytes, also when they went elsewhere.
    pub(super) len: usize,
    pub(super) chunks: Vec<(Digest, u32, Kind)>,
}

impl Draft {
    fn new(lane: Lane) -> Self {
        Self { lane, plain: Vec::new(), len: 0, chunks: Vec::new() }
    }
}

/// One frame being gathered for each lane.
pub(super) struct Drafts([Draft; 3]);

impl Default for Drafts {
    fn default() -> Self {
        Self([Lane::Data, Lane::Noise, Lane::Nodes].map(Draft::new))
    }
}

impl Drafts {
    /// Adds a chunk; gives the frame before it where both do not fit into one.
    pub(super) fn add(&mut self, lane: Lane, id: Digest, bytes: &Pieces) -> Option<Draft> {
        let draft = self.0.iter_mut().find(|d| d.lane == lane)?;
        let fits = draft.len + bytes.len() <= lane.most() && draft.chunks.len() < MOST_CHUNKS;
        let full = (!fits).then(|| std::mem::replace(draft, Draft::new(lane)));
        // All at once: what grows step by step is copied at each.
        if draft.plain.capacity() == 0 {
            draft.plain.reserve_exact(lane.most());
        }
        bytes.iter().for_each(|piece| draft.plain.extend_from_slice(piece));
        draft.len += bytes.len();
        draft.chunks.push((id, small(bytes.len()), lane.kind()));
        full
    }

    /// Everything gathered, for the end.
    pub(super) fn take_all(&mut self) -> Vec<Draft> {
        let taken = self.0.iter_mut().map(|d| std::mem::replace(d, Draft::new(d.lane)));
        taken.filter(|d| !d.chunks.is_empty()).collect()
    }
}
