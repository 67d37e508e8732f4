//! The thread that does the work.

use crate::handle::Config;
use crate::hub::Hub;
use model::command::Command;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

pub(crate) struct Worker;

impl Worker {
    pub(crate) fn start(_config: Config, _hub: Arc<Hub>) -> Sender<Command> {
        channel().0
    }
}
