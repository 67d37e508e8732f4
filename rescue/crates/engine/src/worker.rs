//! One thread takes commands, another runs the job: one at a time.

use crate::handle::Config;
use crate::hub::Hub;
use crate::jobs::Jobs;
use crate::run::Observer;
use model::command::{Command, ExitCode, Failure, PowerAction};
use model::event::{Happening, JobKind, Outcome, Progress, Question};
use model::id::PlanId;
use model::plan::SnapshotEstimate;
use model::text::{DisplayText, RawName};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a job that waits for a decision looks whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(100);

/// What somebody said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Go ahead.
    Approved,
    /// Do not.
    Declined,
    /// Ask again, with an undo snapshot that reads everything, or what changed.
    Reread(bool),
    /// Ask again, with what is kept as it is.
    Keep(Vec<RawName>),
    /// Ask again, with EFI system partitions left as they are on which what others have cannot be kept, or with all of them.
    LeaveEsps(bool),
    /// Ask again, with volumes that are made larger where they can be, or as they are.
    Grow(bool),
}

/// What the commands' thread and the job's thread share.
pub(crate) struct Desk {
    hub: Arc<Hub>,
    /// How often the running job was cancelled.
    cancels: AtomicU32,
    /// True while a job runs. Held while its end is told, so that whoever hears of the end can start the next.
    busy: Mutex<bool>,
    /// Whom the answer to the standing question goes to.
    waiting: Mutex<Option<(PlanId, Sender<Reply>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the threads of an engine. Dropping every sender ends it after the running job.
pub(crate) fn start(config: Config, hub: Arc<Hub>) -> Sender<Command> {
    let (sender, commands) = channel();
    let desk = Arc::new(Desk { hub, cancels: AtomicU32::new(0), busy: Mutex::new(false), waiting: Mutex::new(None) });
    std::thread::spawn(move || attend(&commands, &desk, &Arc::new(Jobs::new(config))));
    sender
}

/// Takes commands until nobody can give any more.
fn attend(commands: &Receiver<Command>, desk: &Arc<Desk>, jobs: &Arc<Jobs>) {
    let mut running: Option<JoinHandle<()>> = None;
    for command in commands {
        match command {
            Command::Answer { plan, approve } => {
                desk.answer(plan, if approve { Reply::Approved } else { Reply::Declined })
            }
            Command::Reread { plan, full } => desk.answer(plan, Reply::Reread(full)),
            Command::Keep { plan, paths } => desk.answer(plan, Reply::Keep(paths)),
            Command::LeaveEsps { plan, leave } => desk.answer(plan, Reply::LeaveEsps(leave)),
            Command::Grow { plan, grow } => desk.answer(plan, Reply::Grow(grow)),
            Command::Cancel => desk.cancel(),
            Command::Power(action) => desk.leave(action),
            job => {
                let kind = kind(&job);
                if !desk.begin(kind) {
                    continue;
                }
                if let Some(before) = running.take() {
                    // It has told its end; this waits for its last breath only.
                    let _ = before.join();
                }
                let (desk, jobs) = (desk.clone(), jobs.clone());
                running = Some(std::thread::spawn(move || desk.run(kind, &job, &jobs)));
            }
        }
    }
    // Nobody is there to answer a question any more.
    if lock(&desk.waiting).is_some() {
        desk.cancel();
    }
    if let Some(job) = running {
        let _ = job.join();
    }
    desk.hub.close();
}

fn kind(command: &Command) -> JobKind {
    match command {
        Command::ListSnapshots | Command::Unlock { .. } => JobKind::List,
        Command::OpenVolume { .. } | Command::OpenSaved { .. } => JobKind::Open,
        Command::Snapshot { .. } | Command::EstimateSnapshot { .. } => JobKind::Snapshot,
        Command::Auto { .. } => JobKind::Auto,
        Command::PlanRollback { .. } | Command::PlanKeeping { .. } => JobKind::Rollback,
        Command::PlanPut { .. } => JobKind::Put,
        Command::PlanRestore { .. } => JobKind::Restore,
        Command::PlanUndo { .. } => JobKind::Undo,
        Command::PlanResume => JobKind::Resume,
        Command::PlanBootRepair => JobKind::BootRepair,
        Command::Check { .. } => JobKind::Check,
        Command::Export { .. } => JobKind::Export,
        Command::Prove { .. } => JobKind::Prove,
        Command::ListFiles { .. } | Command::GetFiles { .. } => JobKind::Files,
        Command::BrowseFiles { .. } => JobKind::Browse,
        Command::Describe { .. } => JobKind::Describe,
        Command::Compare { .. } => JobKind::Compare,
        Command::Upkeep { .. } => JobKind::Upkeep,
        Command::Inspect
        | Command::Answer { .. }
        | Command::Reread { .. }
        | Command::Keep { .. }
        | Command::LeaveEsps { .. }
        | Command::Grow { .. }
        | Command::Cancel
        | Command::Power(_) => JobKind::Inspect,
    }
}

impl Desk {
    fn refuse(&self, why: impl AsRef<str>) {
        self.hub.tell(Happening::Log(DisplayText::new(why.as_ref())));
    }

    fn begin(&self, kind: JobKind) -> bool {
        let mut busy = lock(&self.busy);
        if *busy {
            drop(busy);
            self.refuse(format!(
                "{} was refused: something else is running; wait for its end or cancel it",
                kind.name()
            ));
            return false;
        }
        *busy = true;
        self.cancels.store(0, Ordering::Relaxed);
        self.hub.tell(Happening::Started(kind));
        true
    }

    fn run(&self, kind: JobKind, command: &Command, jobs: &Jobs) {
        let outcome = catch_unwind(AssertUnwindSafe(|| jobs.run(command, self))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no word of why");
            Outcome::Failed(Failure::new(
                ExitCode::Failed,
                format!("the program stumbled: {text}"),
                "look at the disks again: if fences stand, `holdfast resume` or `holdfast undo` goes on; please report this",
            ))
        });
        *lock(&self.waiting) = None;
        let mut busy = lock(&self.busy);
        self.hub.tell(Happening::Ended { job: kind, outcome });
        *busy = false;
    }

    fn answer(&self, plan: PlanId, reply: Reply) {
        let mut waiting = lock(&self.waiting);
        match waiting.take() {
            Some((id, to)) if id == plan => {
                // Told before the job goes on, so that nobody hears of writing before the decision.
                if let Reply::Approved | Reply::Declined = reply {
                    self.hub.tell(Happening::Decided { plan, approved: reply == Reply::Approved });
                }
                let _ = to.send(reply);
            }
            other => {
                *waiting = other;
                drop(waiting);
                self.refuse("an answer came to a question that is not asked (any more)");
            }
        }
    }

    fn cancel(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, action: PowerAction) {
        let busy = lock(&self.busy);
        if *busy {
            drop(busy);
            self.refuse("something is running; wait for its end or cancel it before leaving");
            return;
        }
        self.hub.tell(Happening::Leaving(action));
    }

    pub(crate) fn tell(&self, what: Happening) {
        self.hub.tell(what);
    }

    /// Asks and waits; `None` where it was cancelled. Once it is asked, `meanwhile` is done.
    pub(crate) fn ask(&self, question: Question, meanwhile: impl FnOnce()) -> Option<Reply> {
        let (sender, answer) = channel();
        *lock(&self.waiting) = Some((question.id, sender));
        self.hub.tell(Happening::DecisionNeeded(Box::new(question)));
        meanwhile();
        loop {
            match answer.recv_timeout(GLANCE) {
                Ok(reply) => return Some(reply),
                Err(RecvTimeoutError::Timeout) if !self.cancelled() => {}
                Err(_) => {
                    *lock(&self.waiting) = None;
                    // An answer that came just before counts.
                    return answer.try_recv().ok();
                }
            }
        }
    }
}

impl Observer for Desk {
    fn progress(&self, progress: Progress) {
        self.hub.tell(Happening::Progress(progress));
    }

    fn log(&self, line: &str) {
        self.hub.tell(Happening::Log(DisplayText::new(line)));
    }

    fn cancelled(&self) -> bool {
        self.cancels.load(Ordering::Relaxed) > 0
    }

    fn is_hurried(&self) -> bool {
        self.cancels.load(Ordering::Relaxed) > 1
    }

    fn estimate(&self, estimate: SnapshotEstimate) {
        self.hub.tell(Happening::Estimate(Box::new(estimate)));
    }
}
