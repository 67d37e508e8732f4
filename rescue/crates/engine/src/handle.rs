//! One way in for every front end: commands in, events out.

use crate::heads::Heads;
use crate::hub::Hub;
use crate::parser::Parser;
use crate::sticks::Sticks;
use crate::store_place::StorePlace;
use crate::worker;
use model::command::{Command, ExitCode, Failure};
use model::event::{Event, Happening, Outcome, Question};
use model::id::PlanId;
use model::plan::RollbackPlan;
use model::ports::{Clock, Devices};
use model::run_state::RunState;
use model::text::DisplayText;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// What an engine works with.
pub struct Config {
    /// The disks.
    pub devices: Arc<dyn Devices>,
    /// Who interprets their bytes.
    pub parser: Arc<dyn Parser>,
    /// Where snapshots live; without one it can only look.
    pub store: Option<StorePlace>,
    /// The store that is copied to, or repaired from.
    pub other: Option<StorePlace>,
    /// Who mounts a second stick: in the rescue alone.
    pub sticks: Option<Arc<dyn Sticks>>,
    /// Where this computer remembers how it last saw its stores; in the rescue there is no such place.
    pub heads: Option<Heads>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The engine: starts one and gives the handle to it.
pub struct Engine;

impl Engine {
    /// Starts an engine on threads of its own. It ends when a job is not running and the last handle is dropped.
    pub fn start(config: Config) -> Handle {
        let hub = Arc::new(Hub::default());
        let commands = worker::start(config, hub.clone());
        Handle { hub, commands }
    }
}

/// Commands in, events out. Clones lead to the same engine, as do handles in other processes (see [`crate::link`]).
#[derive(Clone)]
pub struct Handle {
    hub: Arc<Hub>,
    commands: Sender<Command>,
}

impl Handle {
    pub(crate) fn new(hub: Arc<Hub>, commands: Sender<Command>) -> Self {
        Self { hub, commands }
    }

    /// Gives a command. What comes of it comes as events; a refusal comes as a line of the log that says why.
    pub fn submit(&self, command: Command) {
        // An engine that is gone shows as the end of the events.
        let _ = self.commands.send(command);
    }

    /// Events from now on. The first is [`Happening::State`]; the channel ends where the engine does.
    pub fn subscribe(&self) -> Receiver<Event> {
        self.hub.subscribe()
    }

    /// The state as it is now.
    pub fn state(&self) -> RunState {
        self.hub.state()
    }

    /// A line for the log that comes from outside the engine.
    pub(crate) fn note(&self, line: DisplayText) {
        self.hub.tell(Happening::Log(line));
    }

    /// Gives a command that starts a job and waits for its end. Every event on the way goes to `each`; `decide` answers a
    /// question (`None`: leave it to another front end). For programs that do one thing: the job must not be running yet.
    pub fn run(
        &self,
        command: Command,
        each: &mut dyn FnMut(&Event),
        decide: &mut dyn FnMut(PlanId, &RollbackPlan) -> Option<bool>,
    ) -> Outcome {
        self.run_told(command, each, &mut |question| decide(question.id, &question.plan))
    }

    /// The same for whoever wants to know first what a plan loses: `decide` is asked again once that is told, where it gave no answer
    /// before.
    pub fn run_told(
        &self,
        command: Command,
        each: &mut dyn FnMut(&Event),
        decide: &mut dyn FnMut(&Question) -> Option<bool>,
    ) -> Outcome {
        let events = self.subscribe();
        self.submit(command);
        let mut refusal = None;
        let mut open: Option<Question> = None;
        for event in events {
            each(&event);
            match event.what {
                Happening::Ended { outcome, .. } => return outcome,
                Happening::DecisionNeeded(question) => open = self.decided(*question, decide),
                Happening::Losses(losses) => {
                    if let Some(question) = open.take() {
                        open = self.decided(Question { losses: Some(*losses), ..question }, decide);
                    }
                }
                Happening::Leaving(_) => break,
                Happening::Log(line) => refusal = Some(line),
                _ => {}
            }
        }
        let says = refusal.map_or_else(|| "the engine ended before the job did".to_owned(), |line| line.to_string());
        Outcome::Failed(Failure::new(ExitCode::Failed, says, "run it again; what was begun and cut off can be resumed"))
    }

    /// Gives the answer to a question, or the question back where there is none yet.
    fn decided(&self, question: Question, decide: &mut dyn FnMut(&Question) -> Option<bool>) -> Option<Question> {
        match decide(&question) {
            Some(approve) => {
                self.submit(Command::Answer { plan: question.id, approve });
                None
            }
            None => Some(question),
        }
    }
}
