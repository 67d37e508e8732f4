//! A serial line: everything that came over it, the screen it draws, and keys typed into it.

use crate::Result;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Rows and columns of the terminal that the line is taken to end in.
pub const SCREEN: (NonZeroU16, NonZeroU16) = (NonZeroU16::new(25).unwrap(), NonZeroU16::new(80).unwrap());

/// How long it may take until QEMU listens for whoever is at the other end of a line.
const CONNECT: Duration = Duration::from_secs(20);

/// The console of a running machine.
pub struct Console {
    seen: Arc<Seen>,
    keys: Box<dyn Write + Send>,
    /// The socket that it comes over, where it does.
    socket: Option<UnixStream>,
    log: PathBuf,
    /// How far [`Console::expect`] has consumed what came.
    read_to: usize,
}

struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bytes: Vec<u8>,
    screen: vt100::Parser,
    ended: bool,
}

impl Console {
    /// Watches `output`, keeps a copy in the file `log`, and types into `keys`.
    pub(crate) fn new(
        mut output: impl Read + Send + 'static,
        keys: impl Write + Send + 'static,
        log: PathBuf,
    ) -> Result<Self> {
        let mut copy = File::create(&log)?;
        let seen = Arc::new(Seen {
            state: Mutex::new(State {
                bytes: Vec::new(),
                screen: vt100::Parser::new(SCREEN.0, SCREEN.1, 0),
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buf = [0; 4096];
            loop {
                let n = output.read(&mut buf).unwrap_or(0);
                let mut state = shared.state.lock().expect("no panic while held");
                if n == 0 {
                    state.ended = true;
                    shared.changed.notify_all();
                    return;
                }
                let _ = copy.write_all(&buf[..n]);
                state.bytes.extend_from_slice(&buf[..n]);
                state.screen.process(&buf[..n]);
                shared.changed.notify_all();
            }
        });
        Ok(Self { seen, keys: Box::new(keys), socket: None, log, read_to: 0 })
    }

    /// The same of a line that ends in a socket, once that is there.
    pub(crate) fn at(socket: &Path, log: PathBuf) -> Result<Self> {
        let until = Instant::now() + CONNECT;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(e) if Instant::now() >= until => return Err(format!("{}: {e}", socket.display()).into()),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
        let mut console = Self::new(stream.try_clone()?, stream.try_clone()?, log)?;
        console.socket = Some(stream);
        Ok(console)
    }

    /// Lets go of this end of the line.
    pub(crate) fn hang_up(&mut self) -> Result<()> {
        let socket = self.socket.as_ref().ok_or("this serial line ends in no socket")?;
        Ok(socket.shutdown(Shutdown::Both)?)
    }

    /// Where all that came is kept.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Types bytes.
    ///
    /// # Errors
    /// Where the machine is gone.
    pub fn send(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()?;
        Ok(())
    }

    /// Waits until `text` comes over the line after what was consumed before; consumes up to its end and gives what came
    /// before it.
    ///
    /// # Errors
    /// Where it does not come within `limit`, or the machine ends first: with the last lines seen.
    pub fn expect(&mut self, text: &str, limit: Duration) -> Result<String> {
        self.expect_any(&[text], limit).map(|(_, before)| before)
    }

    /// As [`Console::expect`], for whichever comes first; also gives its index.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn expect_any(&mut self, texts: &[&str], limit: Duration) -> Result<(usize, String)> {
        let from = self.read_to;
        let (index, at, len) = self.wait(limit, &format!("{texts:?}"), |state| {
            let tail = &state.bytes[from.min(state.bytes.len())..];
            texts
                .iter()
                .enumerate()
                .filter_map(|(i, t)| find(tail, t.as_bytes()).map(|at| (i, at, t.len())))
                .min_by_key(|(_, at, _)| *at)
        })?;
        let state = self.seen.state.lock().expect("no panic while held");
        let before = String::from_utf8_lossy(&state.bytes[from..from + at]).into_owned();
        self.read_to = from + at + len;
        Ok((index, before))
    }

    /// Waits until the screen satisfies `test`, and gives the screen.
    ///
    /// # Errors
    /// Where it does not within `limit`, or the machine ends first: with the screen as it is.
    pub fn expect_screen(&mut self, what: &str, limit: Duration, test: impl Fn(&str) -> bool) -> Result<String> {
        let screen = self.wait(limit, what, |state| {
            let text = state.screen.screen().contents();
            test(&text).then_some(text)
        })?;
        let state = self.seen.state.lock().expect("no panic while held");
        self.read_to = state.bytes.len();
        Ok(screen)
    }

    /// The screen as it is now.
    pub fn screen(&self) -> String {
        self.seen.state.lock().expect("no panic while held").screen.screen().contents()
    }

    /// Everything that came, as text.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.seen.state.lock().expect("no panic while held").bytes).into_owned()
    }

    /// True once the machine has ended.
    pub fn ended(&self) -> bool {
        self.seen.state.lock().expect("no panic while held").ended
    }

    fn wait<T>(&self, limit: Duration, what: &str, test: impl Fn(&State) -> Option<T>) -> Result<T> {
        let until = Instant::now() + limit;
        let mut state = self.seen.state.lock().expect("no panic while held");
        loop {
            if let Some(found) = test(&state) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            let why = if state.ended {
                "the machine ended".to_owned()
            } else if left.is_zero() {
                format!("{} seconds passed", limit.as_secs())
            } else {
                state = self.seen.changed.wait_timeout(state, left).expect("no panic while held").0;
                continue;
            };
            let screen = state.screen.screen().contents();
            return Err(format!(
                "waited for {what}, but {why}; the console is kept in {}; its screen is:\n{}",
                self.log.display(),
                screen.trim_end()
            )
            .into());
        }
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len().max(1)).position(|w| w == needle)
}
