//! The one place that touches a terminal: keys in, frames out, and everything put back as it was, whatever happens.
//!
//! Input is read with plain blocking reads by a thread of its own: an end of file or an error ends the session at once,
//! where polling libraries go round in circles on a terminal that was hung up. The size is asked for now and then
//! rather than by signal; a serial line knows none, so the terminal at its other end is asked where its last cell is.

use super::draw;
use super::front::{Front, Incoming};
use super::keys::{Decoded, Decoder};
use super::look::Look;
use super::mouse;
use super::recording::{Playback, Recorder};
use super::state::{Action, Key, Ui};
use engine::Handle;
use model::event::{Event, Happening};
use ratatui::backend::{CrosstermBackend, TestBackend};
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
/// After this long without a key, another terminal may stand at the end of the line: the next key draws everything anew.
const AWAY: Duration = Duration::from_secs(20);
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

/// How the screens are shown, and where they stand.
#[derive(Debug, Clone)]
pub struct Shows {
    /// What the terminal is trusted with.
    pub look: Look,
    /// What is done with a mouse is wanted, and the terminal can tell.
    pub mouse: bool,
    /// See [`Ui::may_leave`].
    pub may_leave: bool,
    /// See [`Ui::other`].
    pub other: Option<String>,
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
/// The terminal was asked to tell what its mouse does.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// Asks for reports on the mouse's buttons, in the form without limits; and no longer (xterm's ctlseqs, private modes 1000 and 1006).
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

impl Guard {
    fn take(mouse: bool) -> io::Result<Self> {
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
        if mouse {
            MOUSE.store(true, Ordering::SeqCst);
            raw(MOUSE_ON)?;
        }
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
        if MOUSE.swap(false, Ordering::SeqCst) {
            let _ = raw(MOUSE_OFF);
        }
        let _ = raw("\x1b[0m\x1b[2J\x1b[H\x1b[?25h\x1b[?1049l");
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

fn raw(bytes: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes.as_bytes())?;
    out.flush()
}

/// Shows the state of an engine on the terminal of this process until the person leaves or one of the two is gone; and has it recorded,
/// where that is wanted.
///
/// # Errors
/// What the terminal says when it is set up.
pub fn run(handle: &Handle, shows: Shows, recorder: Option<Recorder>) -> io::Result<Ended> {
    let Shows { look, mouse, may_leave, other } = shows;
    let guard = Guard::take(mouse)?;
    let (sender, came) = channel();
    spawn("keys", sender.clone(), read_keys)?;
    let events = handle.subscribe();
    spawn("events", sender, move |sender| pass_events(&events, &sender))?;
    let mut session = Session {
        handle,
        came,
        decoder: Decoder::of(mouse),
        early: Vec::new(),
        front: Front::new(Ui::new(USUAL_SIZE, look, may_leave)),
        recorder,
        terminal: terminal(USUAL_SIZE)?,
    };
    if may_leave {
        session.front.ui.here = std::env::current_dir().ok().and_then(|here| here.to_str().map(str::to_owned));
    }
    session.front.ui.other = other;
    if let Some(recorder) = &mut session.recorder {
        recorder.head(&session.front.ui)?;
    }
    session.measure(true)?;
    let ended = session.go_on();
    drop(guard);
    // Writing fails where the terminal is gone: an end like any other.
    Ok(ended.unwrap_or(Ended::TerminalGone))
}

/// The longest pause of a session that is played back.
const PAUSE: Duration = Duration::from_secs(2);

/// Plays a recorded session back on the terminal of this process, in the time it took but without long pauses: a key goes on at once, q
/// leaves.
///
/// # Errors
/// What the terminal says.
pub fn play(mut playback: Playback) -> io::Result<Ended> {
    let guard = Guard::take(false)?;
    let (sender, came) = channel();
    spawn("keys", sender, read_keys)?;
    let mut decoder = Decoder::default();
    let mut size = playback.front().ui.size;
    let mut screen = terminal(size)?;
    let ended = loop {
        let front = playback.front();
        if front.ui.size != size {
            size = front.ui.size;
            screen = terminal(size)?;
            raw("\x1b[0m\x1b[2J\x1b[H")?;
        }
        screen.draw(|frame| draw::draw(&front.ui, &front.run, frame))?;
        // The last screen stays until somebody leaves.
        let next = playback.next_after();
        match came.recv_timeout(next.unwrap_or(SIZE).min(PAUSE)) {
            Ok(Came::Bytes(bytes)) => {
                let keys = decoder.push(&bytes);
                if keys.iter().any(|k| matches!(k, Decoded::Key(Key::Char('q') | Key::Interrupt))) {
                    break Ended::Left;
                }
                playback.step();
            }
            Ok(Came::TerminalGone) | Err(RecvTimeoutError::Disconnected) => break Ended::TerminalGone,
            Ok(Came::Event(_) | Came::EngineGone) => {}
            Err(RecvTimeoutError::Timeout) => {
                playback.step();
            }
        }
    };
    drop(guard);
    Ok(ended)
}

/// The last screen of a recorded session, as text.
///
/// # Errors
/// Never, in fact: it is drawn in memory.
pub fn last_screen(mut playback: Playback) -> io::Result<String> {
    while playback.step() {}
    let Front { ui, run } = playback.front();
    let mut screen = Terminal::new(TestBackend::new(ui.size.0, ui.size.1)).map_err(io::Error::other)?;
    screen.draw(|frame| draw::draw(ui, run, frame)).map_err(io::Error::other)?;
    let buffer = screen.backend().buffer();
    let row = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    Ok(buffer.content.chunks(usize::from(ui.size.0).max(1)).map(row).collect())
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
    front: Front,
    recorder: Option<Recorder>,
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Session<'_> {
    fn go_on(&mut self) -> io::Result<Ended> {
        let mut drawn = Instant::now();
        let mut looked = Instant::now();
        let mut heard = Instant::now();
        // What was changed since the last frame: nothing, progress, or something a person did.
        let (mut changed, mut urgent) = (true, true);
        loop {
            if changed && (urgent || drawn.elapsed() >= FRAME) {
                let Front { ui, run } = &self.front;
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
                    if std::mem::replace(&mut heard, Instant::now()).elapsed() >= AWAY {
                        self.measure(true)?;
                        self.anew()?;
                    }
                    for decoded in self.decoder.push(&bytes) {
                        if let Some(ended) = self.decoded(decoded)? {
                            return Ok(ended);
                        }
                    }
                }
                Ok(Came::Event(event)) => {
                    changed = true;
                    urgent |= !matches!(event.what, Happening::Progress(_) | Happening::Log(_));
                    if let Some(ended) = self.take(&Incoming::Event(event))? {
                        return Ok(ended);
                    }
                }
                Ok(Came::EngineGone) => {
                    return Ok(if self.front.run.leaving.is_some() { Ended::Leaving } else { Ended::EngineGone });
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
                let before = self.front.ui.size;
                self.measure(false)?;
                if self.front.ui.size != before {
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

    fn decoded(&mut self, decoded: Decoded) -> io::Result<Option<Ended>> {
        let keys = match decoded {
            Decoded::Key(key) => vec![key],
            Decoded::Mouse(did) => mouse::keys(&self.front.ui, &self.front.run, did),
            Decoded::Cursor(..) => Vec::new(),
        };
        for key in keys {
            if let Some(ended) = self.take(&Incoming::Key(key))? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    fn take(&mut self, incoming: &Incoming) -> io::Result<Option<Ended>> {
        // A recording that cannot be written is no reason to stop: it ends there.
        if let Some(recorder) = &mut self.recorder
            && recorder.note(&self.front, incoming).is_err()
        {
            self.recorder = None;
            self.front.ui.note = Some("The recording cannot be written any further; what there is of it stays.".into());
        }
        let asked = *incoming == Incoming::Key(Key::Redraw);
        for action in self.front.take(incoming) {
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
        if MOUSE.load(Ordering::SeqCst) {
            raw(MOUSE_ON)?;
        }
        self.terminal = terminal(self.front.ui.size)?;
        Ok(())
    }

    /// Finds out the size: from the system, else (where `ask`) from the terminal itself.
    fn measure(&mut self, ask: bool) -> io::Result<()> {
        let size = match crossterm::terminal::size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
            _ if ask => self.ask_size()?.unwrap_or(USUAL_SIZE),
            _ => return Ok(()),
        };
        if size != self.front.ui.size {
            self.take(&Incoming::Size(size.0, size.1))?;
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
