//! A second stick of the rescue: who mounts it is not the engine.

use crate::link::Wish;
use model::command::{ExitCode, Failure};
use model::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sys::process::Channel;

/// Whoever may mount the file system of a second stick.
pub trait Sticks: Send + Sync {
    /// Mounts it, and gives the directory where its root is; `None` where `cancelled` says so meanwhile.
    ///
    /// # Errors
    /// [`Failure`]: there is none, there are several, it is write-protected, or it cannot be mounted.
    fn attach(&self, cancelled: &dyn Fn() -> bool) -> Result<Option<PathBuf>, Failure>;

    /// Unmounts it. What is mounted no longer is no error.
    ///
    /// # Errors
    /// A sentence without a full stop: it was pulled out, or is still in use.
    fn detach(&self) -> Result<(), DisplayText>;
}

/// What set-up is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickWish {
    /// Mount it.
    Attach,
    /// Unmount it.
    Detach,
}

/// What set-up answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickAnswer {
    /// It is mounted there.
    Attached(PathBuf),
    /// It is not mounted any more.
    Detached,
    /// That was not done; the sentence says why.
    Failed(DisplayText),
}

/// How long set-up may take: a slow stick is probed and enlarged, and its journal is carried out.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether somebody wants to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Asks set-up over the control socket.
pub(crate) struct Asked {
    control: Arc<Channel>,
    answers: Mutex<Receiver<StickAnswer>>,
}

impl Asked {
    pub(crate) fn new(control: Arc<Channel>, answers: Receiver<StickAnswer>) -> Self {
        Self { control, answers: Mutex::new(answers) }
    }

    /// Sends a wish and waits for its answer; `None` where it was cancelled.
    fn ask(&self, wish: StickWish, cancelled: &dyn Fn() -> bool) -> Result<Option<StickAnswer>, DisplayText> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a wish that nobody waited for.
        while answers.try_recv().is_ok() {}
        self.send(wish)?;
        let began = Instant::now();
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RecvTimeoutError::Timeout) if cancelled() => return Ok(None),
                Err(RecvTimeoutError::Timeout) if began.elapsed() < PATIENCE => {}
                Err(RecvTimeoutError::Timeout) => return Err("the second stick does not answer".into()),
                Err(RecvTimeoutError::Disconnected) => return Err("the rescue is being left".into()),
            }
        }
    }

    fn send(&self, wish: StickWish) -> Result<(), DisplayText> {
        let failed = |e: std::io::Error| DisplayText::new(&format!("the second stick cannot be asked for: {e}"));
        let message = serde_json::to_vec(&Wish::Stick(wish)).map_err(|e| failed(e.into()))?;
        self.control.send(&message, None).map_err(failed)
    }
}

impl Sticks for Asked {
    fn attach(&self, cancelled: &dyn Fn() -> bool) -> Result<Option<PathBuf>, Failure> {
        let failed = |says: DisplayText| Failure::new(ExitCode::Refused, says.as_str(), "nothing was done with it");
        match self.ask(StickWish::Attach, cancelled).map_err(failed)? {
            Some(StickAnswer::Attached(root)) => Ok(Some(root)),
            Some(StickAnswer::Failed(why)) => Err(failed(why)),
            Some(StickAnswer::Detached) => Err(failed("the second stick was let go meanwhile".into())),
            None => {
                // Should it still be mounted, it is let go at once.
                self.send(StickWish::Detach).map_err(failed)?;
                Ok(None)
            }
        }
    }

    fn detach(&self) -> Result<(), DisplayText> {
        match self.ask(StickWish::Detach, &|| false)? {
            Some(StickAnswer::Failed(why)) => Err(why),
            _ => Ok(()),
        }
    }
}
