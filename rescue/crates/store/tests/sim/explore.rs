//! Power cuts: every state a log can leave, opened and looked at.

use crate::build::Build;
use crate::crash::{Model, Replay};
use crate::expected::{Look, Next};
use crate::fs::SimFs;
use crate::history::{History, Recorded};
use crate::rng::{Rng, fold};
use crate::tree::Tree;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One power cut: which history, after how many operations, and which of the states that are possible then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) history: usize,
    pub(crate) fat: bool,
    pub(crate) after: usize,
    pub(crate) seed: u64,
}

/// What was run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Power cuts.
    pub(crate) points: usize,
    /// States that differ in something a reader can see.
    pub(crate) states: usize,
    /// Power cuts during what was done after a first one.
    pub(crate) second: usize,
}

/// A history, and the disk after each of its operations.
struct Film {
    history: usize,
    build: Build,
    recorded: Recorded,
    model: Model,
    frames: Vec<Replay>,
}

/// Histories, on file systems.
pub(crate) struct Explorer {
    films: Vec<Film>,
    seen: Mutex<HashSet<u64>>,
    second: AtomicUsize,
}

impl Explorer {
    pub(crate) fn new(build: &Build, histories: &[usize], models: &[Model]) -> Result<Self, String> {
        let mut films = Vec::new();
        for model in models.iter().copied() {
            for n in histories {
                let history = History::numbered(*n);
                let build = history.build(build);
                let recorded = Recorded::run(&build, &Tree::new(), model, &history.steps)?;
                let frames = Replay::all(&recorded.base, &recorded.log);
                films.push(Film { history: *n, build, recorded, model, frames });
            }
        }
        Ok(Self { films, seen: Mutex::default(), second: AtomicUsize::new(0) })
    }

    /// Operations of all histories on all file systems.
    pub(crate) fn operations(&self) -> usize {
        self.films.iter().map(|f| f.recorded.log.len()).sum()
    }

    /// Tries one power cut.
    pub(crate) fn cut(&self, point: Point) -> Result<(), String> {
        let wanted = |f: &Film| f.history == point.history && (f.model == Model::Fat) == point.fat;
        let at = self.films.iter().position(wanted).unwrap();
        let Film { recorded, model, frames, build, .. } = &self.films[at];
        let Point { after, seed, .. } = point;
        let after = after.min(recorded.log.len());
        let tree = frames[after].crash(seed, *model);
        let expected = recorded.expected(after);
        // The same tree, with the same promises to keep, ends in the same way.
        let acknowledged = recorded.taken.iter().filter(|t| t.ended <= after).count();
        let state = fold([at as u64, acknowledged as u64, u64::from(expected.is_between()), tree.sign()]);
        let look = if *model == Model::Fat { Look::NothingLost } else { Look::NothingWrong };
        let chain = seed % 4 == 0;
        if !self.seen.lock().unwrap().insert(state) && !chain {
            return Ok(());
        }
        let fs = SimFs::new(tree.clone(), *model);
        let then = expected.verify(build, &fs, look, Next { volume: 8, prunes: seed % 3 == 0 })?;
        if !chain {
            return Ok(());
        }
        // The power goes again: after what was done since, or somewhere in it.
        self.second.fetch_add(1, Ordering::Relaxed);
        let log = fs.log();
        let mut rng = Rng::new(seed);
        let (again, expected) = match rng.below(2) {
            0 => (log.len(), then),
            _ => (rng.below(log.len() + 1), expected.saved_since()),
        };
        let tree = Replay::end(&tree, &log[..again]).crash(rng.next(), *model);
        let fs = SimFs::new(tree, *model);
        let next = Next { volume: 9, prunes: seed % 5 == 0 };
        expected.verify(build, &fs, look, next).map(|_| ()).map_err(|e| format!("after a second power cut: {e}"))
    }

    /// Tries `points` power cuts, spread over all operations, on as many threads as there are processors.
    pub(crate) fn run(&self, points: usize, seed: u64) -> Result<Tally, (Point, String)> {
        let places: Vec<(usize, usize)> =
            (0..self.films.len()).flat_map(|f| (0..self.films[f].frames.len()).map(move |k| (f, k))).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failed = Mutex::new(None);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= points {
                    return;
                }
                // Rounds over all places; fewer points than places are spread by a step that meets each once.
                let place = if points < places.len() { n * places.len() / points } else { n % places.len() };
                let (film, after) = places[place];
                let Film { history, model, .. } = self.films[film];
                let seed = Rng::new(seed ^ n as u64).next();
                let point = Point { history, fat: model == Model::Fat, after, seed };
                if let Err(e) = self.cut(point) {
                    stop.store(true, Ordering::Relaxed);
                    failed.lock().unwrap().get_or_insert((point, e));
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|s| {
            (0..threads).for_each(|_| {
                s.spawn(work);
            });
        });
        match failed.into_inner().unwrap() {
            Some(failure) => Err(failure),
            None => {
                let states = self.seen.lock().unwrap().len();
                Ok(Tally { points, states, second: self.second.load(Ordering::Relaxed) })
            }
        }
    }
}
