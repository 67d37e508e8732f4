//! What was tried and what came of it: said on the console while it happens, shown again by the failure screen.

use std::time::Instant;

/// The story of this boot.
#[derive(Debug)]
pub(crate) struct Report {
    began: Instant,
    /// Said aloud as it is noted; false once the consoles belong to programs.
    pub(crate) aloud: bool,
    pub(crate) cmdline: String,
    pub(crate) disks: Vec<String>,
    pub(crate) modules: Vec<String>,
    pub(crate) module_failures: Vec<String>,
    pub(crate) store: String,
    /// What went wrong, oldest first.
    pub(crate) troubles: Vec<String>,
}

/// The failure screen shows the newest few; a device that fails for ever must not fill memory.
const MOST_TROUBLES: usize = 50;

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            aloud: true,
            cmdline: String::new(),
            disks: Vec::new(),
            modules: Vec::new(),
            module_failures: Vec::new(),
            store: "none was asked for (no holdfast.store= on the command line)".to_owned(),
            troubles: Vec::new(),
        }
    }

    /// Something worth saying while people wait.
    pub(crate) fn note(&self, text: &str) {
        if self.aloud {
            eprintln!("holdfast [{:5.1} s] {text}", self.began.elapsed().as_secs_f32());
        }
    }

    /// Something went wrong; the boot goes on as far as it can.
    pub(crate) fn trouble(&mut self, text: String) {
        self.note(&text);
        if self.troubles.len() == MOST_TROUBLES {
            self.troubles.remove(0);
        }
        self.troubles.push(text);
    }
}
