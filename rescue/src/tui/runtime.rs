//! The one place that touches a terminal: keys in, frames out, and everything put back as it was, whatever happens.
//!
//! Input is read with plain blocking reads by a thread of its own: an end of file or an error ends the session at once,
//! where polling libraries go round in circles on a terminal that was hung up. The size is asked for now and then
//! rather than by signal; a serial line knows none, so the terminal at its other end is asked where its last cell is.

use super::draw;
use super::keys::{Decoded, Decoder};
use super::look::Look;
use super::state::{Action, Input, Key, Ui};
use super::update::update;
use engine::Handle;
use model::event::{Event, Happening};
use model::run_state::RunState;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{self, Read, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The size of a terminal that does not tell.
const USUAL_SIZE: (u16, u16) = (80, 24);
/// How long a terminal may take to say where its cursor is: a slow serial line included.
const ANSWER: Duration = Duration::from_millis(1000);
/// After this long without another byte, an Esc was the Esc key. A sequence of six bytes takes 6 ms at 9600 baud.
const SEQUENCE: Duration = Duration::from_millis(80);
/// How often the size is looked at.
const SIZE: Duration = Duration::from_millis(400);
/// Frames that only show progress come no faster than this: a serial line has better things to carry.
const FRAME: Duration = Duration::from_millis(150);

/// Why the session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The person left.
    Left,
    /// The rescue is being left.
    Leaving,
    /// The engine is gone.
    EngineGone,
    /// The terminal is gone.
    TerminalGone,
}

enum Came {
    Bytes(Vec<u8>),
    Event(Box<Event>),
    EngineGone,
    TerminalGone,
}

/// Puts the terminal back when dropped.
struct Guard;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Guard {
    fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        crossterm::terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let guard = Self;
        // The other screen where there is one, no cursor, the usual character set and colours.
        raw("\x1b[?1049h\x1b[?25l\x1b(B\x0f\x1b[0m\x1b[2J\x1b[H")?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // There is nobody left to tell of a failure.
        let _ = raw("\x1b[0m\x1b[2J\x1b[H\x1b[?25h\x1b[?1049l");
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

fn raw(bytes: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes.as_bytes())?;
    out.flush()
}

/// Shows the state of an engine on the terminal of this process until the person leaves or one of the two is gone.
///
/// # Errors
/// What the terminal says when it is set up.
pub fn run(handle: &Handle, look: Look, may_leave: bool) -> io::Result<Ended> {
    let guard = Guard::take()?;
    let (sender, came) = channel();
    spawn("keys", sender.clone(), read_keys)?;
    let events = handle.subscribe();
    spawn("events", sender, move |sender| pass_events(&events, &sender))?;
    let mut session = Session {
        handle,
        came,
        decoder: Decoder::default(),
        early: Vec::new(),
        ui: Ui::new(USUAL_SIZE, look, may_leave),
        run: RunState::default(),
        terminal: terminal(USUAL_SIZE)?,
    };
    if may_leave {
        session.ui.here = std::env::current_dir().ok().and_then(|here| here.to_str().map(str::to_owned));
    }
    session.measure(true)?;
    let ended = session.go_on();
    drop(guard);
    // Writing fails where the terminal is gone: an end like any other.
    Ok(ended.unwrap_or(Ended::TerminalGone))
}

fn spawn(name: &str, sender: Sender<Came>, work: impl FnOnce(Sender<Came>) + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || work(sender)).map(drop)
}

#[expect(clippy::needless_pass_by_value, reason = "the thread owns its end of the channel")]
fn read_keys(sender: Sender<Came>) {
    let mut buffer = [0; 256];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if sender.send(Came::Bytes(buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = sender.send(Came::TerminalGone);
}

fn pass_events(events: &Receiver<Event>, sender: &Sender<Came>) {
    for event in events {
        if sender.send(Came::Event(Box::new(event))).is_err() {
            return;
        }
    }
    let _ = sender.send(Came::EngineGone);
}

fn terminal((columns, rows): (u16, u16)) -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
    Terminal::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

struct Session<'a> {
    handle: &'a Handle,
    came: Receiver<Came>,
    decoder: Decoder,
    /// What came while the terminal was asked for its size.
    early: Vec<Came>,
    ui: Ui,
    run: RunState,
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Session<'_> {
    fn go_on(&mut self) -> io::Result<Ended> {
        let mut drawn = Instant::now();
        let mut looked = Instant::now();
        // What was changed since the last frame: nothing, progress, or something a person did.
        let (mut changed, mut urgent) = (true, true);
        loop {
            if changed && (urgent || drawn.elapsed() >= FRAME) {
                let (ui, run) = (&self.ui, &self.run);
                self.terminal.draw(|frame| draw::draw(ui, run, frame))?;
                (changed, urgent, drawn) = (false, false, Instant::now());
            }
            let patience = if self.decoder.is_waiting() {
                SEQUENCE
            } else if changed {
                FRAME.saturating_sub(drawn.elapsed())
            } else {
                SIZE
            };
            match self.next(patience) {
                Ok(Came::Bytes(bytes)) => {
                    (changed, urgent) = (true, true);
                    for decoded in self.decoder.push(&bytes) {
                        if let Some(ended) = self.decoded(decoded)? {
                            return Ok(ended);
                        }
                    }
                }
                Ok(Came::Event(event)) => {
                    changed = true;
                    urgent |= !matches!(event.what, Happening::Progress(_) | Happening::Log(_));
                    if let Some(ended) = self.happened(&event)? {
                        return Ok(ended);
                    }
                }
                Ok(Came::EngineGone) => {
                    return Ok(if self.run.leaving.is_some() { Ended::Leaving } else { Ended::EngineGone });
                }
                Ok(Came::TerminalGone) => return Ok(Ended::TerminalGone),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(decoded) = self.decoder.idle() {
                        (changed, urgent) = (true, true);
                        if let Some(ended) = self.decoded(decoded)? {
                            return Ok(ended);
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::EngineGone),
            }
            if looked.elapsed() >= SIZE {
                looked = Instant::now();
                let before = self.ui.size;
                self.measure(false)?;
                if self.ui.size != before {
                    (changed, urgent) = (true, true);
                }
            }
        }
    }

    fn next(&mut self, patience: Duration) -> Result<Came, RecvTimeoutError> {
        if !self.early.is_empty() {
            return Ok(self.early.remove(0));
        }
        self.came.recv_timeout(patience)
    }

    fn happened(&mut self, event: &Event) -> io::Result<Option<Ended>> {
        self.run.apply(event);
        // The engine refuses a command by a line in the log.
        if let (Happening::Log(line), None) = (&event.what, &self.run.job) {
            self.input(Input::Refused(line.to_string()))?;
        }
        self.input(Input::Changed)
    }

    fn decoded(&mut self, decoded: Decoded) -> io::Result<Option<Ended>> {
        let Decoded::Key(key) = decoded else { return Ok(None) };
        self.input(Input::Key(key))
    }

    fn input(&mut self, input: Input) -> io::Result<Option<Ended>> {
        let asked = input == Input::Key(Key::Redraw);
        for action in update(&mut self.ui, &self.run, input) {
            match action {
                Action::Submit(command) => self.handle.submit(command),
                Action::Leave => return Ok(Some(Ended::Left)),
                Action::Redraw if asked => {
                    self.measure(true)?;
                    self.anew()?;
                }
                Action::Redraw => self.anew()?,
            }
        }
        Ok(None)
    }

    /// Draws every cell again: the line may have garbled some.
    fn anew(&mut self) -> io::Result<()> {
        raw("\x1b(B\x0f\x1b[0m\x1b[2J\x1b[H\x1b[?25l")?;
        self.terminal = terminal(self.ui.size)?;
        Ok(())
    }

    /// Finds out the size: from the system, else (where `ask`) from the terminal itself.
    fn measure(&mut self, ask: bool) -> io::Result<()> {
        let size = match crossterm::terminal::size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
            _ if ask => self.ask_size()?.unwrap_or(USUAL_SIZE),
            _ => return Ok(()),
        };
        if size != self.ui.size {
            self.input(Input::Resize(size.0, size.1))?;
        }
        Ok(())
    }

    /// Sends the cursor to the far corner and asks where it is (ECMA-48 8.3.35, device status report 6).
    fn ask_size(&mut self) -> io::Result<Option<(u16, u16)>> {
        raw("\x1b[999;999H\x1b[6n")?;
        let until = Instant::now() + ANSWER;
        let mut listening = Decoder::default();
        loop {
            match self.came.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Came::Bytes(bytes)) => {
                    let mut size = None;
                    for decoded in listening.push(&bytes) {
                        if let Decoded::Cursor(rows, columns) = decoded {
                            size = Some((columns.clamp(1, 500), rows.clamp(1, 200)));
                        }
                    }
                    self.early.push(Came::Bytes(bytes));
                    if size.is_some() {
                        return Ok(size);
                    }
                }
                Ok(other) => self.early.push(other),
                Err(_) => return Ok(None),
            }
        }
    }
}
