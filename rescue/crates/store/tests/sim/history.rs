//! Histories: what is done with a store, step by step, and the log of one.

use crate::build::{Build, Deed, Step, Word};
use crate::crash::{Model, Op};
use crate::expected::Expected;
use crate::fs::SimFs;
use crate::rng::Rng;
use crate::tree::Tree;
use model::id::SnapshotId;

/// What is done, and with what kind of store.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) steps: Vec<Step>,
    pub(crate) sealed: bool,
    pub(crate) shared: bool,
}

const fn pruned(now: bool) -> Step {
    Step::Prune { now }
}

impl History {
    /// The history of a number: the first few are made so that they meet everything once, the others by chance.
    pub(crate) fn numbered(n: usize) -> Self {
        use Step::{Beside, Forget, GoOn, Intent, Note, Receipt, Snapshot, Stop};
        let (steps, sealed, shared) = match n {
            0 => (vec![Snapshot(0), Snapshot(1), Snapshot(2)], false, false),
            1 => (vec![Snapshot(3), Snapshot(3), Snapshot(4), Snapshot(6)], false, false),
            2 => {
                let freed = [pruned(false), Note(1, Word::Pin), pruned(false)];
                ([&[Snapshot(0), Snapshot(1), Note(1, Word::Label), Forget(0)], &freed[..]].concat(), false, false)
            }
            3 => {
                let said = [Note(1, Word::Label), Intent(1), Receipt(1)];
                ([&[Snapshot(1), Snapshot(2), Forget(0), pruned(true)], &said[..]].concat(), true, false)
            }
            4 => (vec![Snapshot(0), Snapshot(1), Forget(0), Beside(0, 1, 1), pruned(false)], false, true),
            5 => (vec![Snapshot(0), Snapshot(1), Forget(0), pruned(false), Beside(0, 1, 1)], false, true),
            6 => (vec![Snapshot(0), Stop(1), Stop(1), GoOn(1), Stop(3), Snapshot(4)], false, false),
            7 => {
                let freed = [Stop(1), Forget(0), pruned(true), Stop(2), pruned(false), GoOn(2), pruned(false)];
                ([&[Snapshot(0)], &freed[..]].concat(), true, false)
            }
            n if n < 10 => {
                let mut rng = Rng::new(n as u64);
                ((0..2 + rng.below(4)).map(|_| Snapshot(rng.below(8))).collect(), rng.chance(128), false)
            }
            n => Self::drawn(&mut Rng::new(n as u64)),
        };
        Self { steps: [&[Step::Init], &steps[..]].concat(), sealed, shared }
    }

    /// Steps that can be taken one after the other, by chance.
    fn drawn(rng: &mut Rng) -> (Vec<Step>, bool, bool) {
        let (sealed, shared) = (rng.chance(128), rng.chance(96));
        let mut steps = vec![Step::Snapshot(rng.below(8))];
        let (mut saved, mut there) = (1, vec![0]);
        for _ in 0..4 + rng.below(4) {
            let step = match rng.below(8) {
                0 | 1 if there.len() > 1 => Step::Forget(there.remove(rng.below(there.len()))),
                2 if rng.chance(96) => {
                    let to = there[rng.below(there.len())];
                    steps.push(Step::Intent(to));
                    Step::Receipt(to)
                }
                2 => {
                    let word = [Word::Label, Word::Pin, Word::Unpin][rng.below(3)];
                    Step::Note(there[rng.below(there.len())], word)
                }
                3 | 4 => Step::Prune { now: rng.chance(128) },
                5 if rng.chance(128) => {
                    let n = rng.below(8);
                    steps.push(Step::Stop(n));
                    there.push(saved);
                    saved += 1;
                    Step::GoOn(n)
                }
                n => {
                    there.push(saved);
                    saved += 1;
                    let volume = rng.below(8);
                    if shared && n < 7 {
                        Step::Beside(volume, rng.below(3), rng.below(3))
                    } else {
                        Step::Snapshot(volume)
                    }
                }
            };
            steps.push(step);
        }
        (steps, sealed, shared)
    }

    /// The program, for a store of this kind.
    pub(crate) fn build(&self, build: &Build) -> Build {
        Build { sealed: self.sealed, shared: self.shared, ..build.clone() }
    }
}

/// A step that was taken: acknowledged when the log had `ended` operations.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) deed: Deed,
    pub(crate) ended: usize,
    pub(crate) id: Option<SnapshotId>,
}

/// A history that was run once.
pub(crate) struct Recorded {
    pub(crate) base: Tree,
    pub(crate) log: Vec<Op>,
    pub(crate) taken: Vec<Taken>,
}

impl Recorded {
    /// Runs steps that all succeed.
    pub(crate) fn run(build: &Build, base: &Tree, model: Model, steps: &[Step]) -> Result<Self, String> {
        let fs = SimFs::new(base.clone(), model);
        let (mut taken, mut saved) = (Vec::new(), Vec::new());
        for step in steps {
            let deed = step.of(&saved);
            let id = build.act(&fs, deed).map_err(|e| format!("{step:?}: {e}"))?;
            saved.extend(id);
            taken.push(Taken { deed, ended: fs.now(), id });
        }
        Ok(Self { base: base.clone(), log: fs.log(), taken })
    }

    /// What can be expected after `at` operations.
    pub(crate) fn expected(&self, at: usize) -> Expected {
        let mut expected = Expected::default();
        let mut began = 0;
        for t in &self.taken {
            if t.ended > at {
                if at > began {
                    expected.begin(t.deed);
                }
                break;
            }
            expected.acknowledge(t.deed, t.id);
            began = t.ended;
        }
        expected
    }
}
