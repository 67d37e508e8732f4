//! QEMU's own control line (QMP): the keyboard of the machine, what its screen shows, what was written to its disks, and its whole
//! state kept in a file.

use crate::Result;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long QEMU may take to listen, and to answer a command.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to write the state of a machine to a file, or to read it.
const STATE: Duration = Duration::from_secs(120);
/// The 32 KiB in which a VGA adapter keeps the characters of its text mode.
const TEXT: (u64, u64) = (0xb8000, 0x8000);
/// Bytes of a row: 80 characters, each with its attribute.
const ROW: usize = 160;
/// Rows of the VT.
const ROWS: usize = 25;
/// What the first row of every screen of the rescue begins with.
const TOP: &str = " HOLDFAST  ";

/// The control line of a running machine.
pub struct Qmp {
    socket: PathBuf,
    folder: PathBuf,
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Qmp {
    /// Where a machine of this name is told to listen. Below the system's own folder for such things: a socket's path must be
    /// short.
    pub(crate) fn socket(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("holdfast-{}-{name}.qmp", std::process::id()))
    }

    /// Connects to a machine that was just started; screens are put into `folder`.
    pub(crate) fn connect(socket: PathBuf, folder: &Path) -> Result<Self> {
        let began = Instant::now();
        let output = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(e) if began.elapsed() > ANSWER => return Err(format!("QEMU does not listen: {e}").into()),
                Err(_) => sleep(Duration::from_millis(50)),
            }
        };
        output.set_read_timeout(Some(ANSWER))?;
        let input = BufReader::new(output.try_clone()?);
        let mut qmp = Self { socket, folder: folder.to_path_buf(), input, output };
        qmp.message()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            return Err("QEMU closed its control line".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Runs a command and gives what it returns. Events that come meanwhile mean nothing here.
    ///
    /// # Errors
    /// Where QEMU refuses it or does not answer.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        writeln!(self.output, "{}", json!({"execute": command, "arguments": arguments}))?;
        loop {
            let mut message = self.message()?;
            if let Some(error) = message.get("error") {
                return Err(format!("QEMU refused {command}: {error}").into());
            }
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Presses keys of the machine's keyboard together, named as QEMU does (`QKeyCode`): `["ctrl", "alt", "delete"]`.
    ///
    /// # Errors
    /// Where QEMU does not know one.
    pub fn press(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<Value> = keys.iter().map(|k| json!({"type": "qcode", "data": k})).collect();
        self.execute("send-key", &json!({"keys": keys, "hold-time": 60}))?;
        // QEMU answers at once and lets go of the keys after the hold time; keys pressed meanwhile would be lost.
        sleep(Duration::from_millis(150));
        Ok(())
    }

    /// Types letters and digits.
    ///
    /// # Errors
    /// As [`Qmp::press`].
    pub fn type_word(&mut self, word: &str) -> Result<()> {
        word.to_ascii_lowercase().chars().try_for_each(|c| self.press(&[&c.to_string()]))
    }

    /// What the machine had written to a disk so far, by its place among the disks: bytes, and the requests they came in.
    ///
    /// # Errors
    /// Where there is no such disk.
    pub fn written(&mut self, disk: usize) -> Result<Written> {
        let name = format!("d{disk}");
        let all = self.execute("query-blockstats", &json!({}))?;
        let of = all.as_array().into_iter().flatten().find(|d| d["device"] == name.as_str());
        let stats = of.map(|d| &d["stats"]).ok_or_else(|| format!("QEMU knows no disk {name}: {all}"))?;
        let number = |what: &str| stats[what].as_u64().ok_or_else(|| format!("QEMU does not count {what}: {stats}"));
        Ok(Written { bytes: number("wr_bytes")?, requests: number("wr_operations")? })
    }

    /// Has a disk take one write a second, so that a writer can be halted at its first; or as many as come.
    ///
    /// # Errors
    /// Where QEMU refuses.
    pub fn slow(&mut self, disk: usize, slow: bool) -> Result<()> {
        let device = format!("d{disk}");
        let limits = json!({"device": device, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0,
                            "iops_wr": u8::from(slow)});
        self.execute("block_set_io_throttle", &limits).map(drop)
    }

    /// Halts the machine and writes its state (memory, processor, devices; not its disks) to a file. It stays halted: the disks are
    /// those of that state then.
    ///
    /// # Errors
    /// Where QEMU cannot, or takes too long.
    pub fn keep_state(&mut self, file: &Path) -> Result<()> {
        self.execute("stop", &json!({}))?;
        // As fast as the host's disk takes it: it is halted.
        self.execute("migrate-set-parameters", &json!({"max-bandwidth": 1_u64 << 40}))?;
        self.execute("migrate", &json!({"uri": format!("exec:cat >'{}'", file.display())}))?;
        let began = Instant::now();
        loop {
            let told = self.execute("query-migrate", &json!({}))?;
            match told["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(format!("the state was not written: {told}").into()),
                _ if began.elapsed() > STATE => return Err(format!("the state takes too long: {told}").into()),
                _ => sleep(Duration::from_millis(100)),
            }
        }
    }

    /// QEMU's arguments for a machine that begins with a state that was kept.
    pub fn from_state(file: &Path) -> [String; 2] {
        ["-incoming".to_owned(), format!("exec:cat '{}'", file.display())]
    }

    /// Waits until a machine that was started from a state has it, and lets it go on.
    ///
    /// # Errors
    /// Where QEMU cannot, or takes too long.
    pub fn go_on(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let told = self.execute("query-status", &json!({}))?;
            match told["status"].as_str() {
                Some("paused" | "postmigrate") => return self.execute("cont", &json!({})).map(drop),
                _ if began.elapsed() > STATE => return Err(format!("the state was not read: {told}").into()),
                _ => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// A picture of the screen, in a file of this name.
    ///
    /// # Errors
    /// Where the machine has no screen, or the picture cannot be read.
    pub fn picture(&mut self, name: &str) -> Result<Picture> {
        let file = self.folder.join(format!("{name}.ppm"));
        self.execute("screendump", &json!({"filename": file}))?;
        Picture::read(&fs::read(&file)?).ok_or_else(|| format!("{} is not a picture", file.display()).into())
    }

    /// The screens of the rescue that stand in the text memory of a VGA adapter: one, unless an older one was scrolled away.
    /// None while something else is shown, or where the screen is not in text mode.
    ///
    /// # Errors
    /// Where QEMU does not give the memory.
    pub fn text(&mut self) -> Result<Vec<String>> {
        let file = self.folder.join("text.bin");
        self.execute("pmemsave", &json!({"val": TEXT.0, "size": TEXT.1, "filename": file}))?;
        Ok(screens(&fs::read(&file)?))
    }

    /// Waits until a screen of the rescue on the VT satisfies `test`, and gives it.
    ///
    /// # Errors
    /// Where it does not within `limit`: with what is there.
    pub fn expect_text(&mut self, what: &str, limit: Duration, test: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        loop {
            let screens = self.text()?;
            if let Some(found) = screens.iter().find(|s| test(s)) {
                return Ok(found.clone());
            }
            if began.elapsed() > limit {
                let seconds = limit.as_secs();
                let all = screens.join("\n----\n");
                return Err(format!("waited {seconds} s for {what} on the VT; it shows:\n{all}").into());
            }
            sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn screens(memory: &[u8]) -> Vec<String> {
    let text = |row: &[u8]| -> String {
        row.chunks_exact(2).map(|cell| if cell[0].is_ascii_graphic() { char::from(cell[0]) } else { ' ' }).collect()
    };
    let rows: Vec<String> = memory.chunks_exact(ROW).map(text).collect();
    let whole = |at: &usize| rows[*at].starts_with(TOP) && at + ROWS <= rows.len();
    let screen = |at: usize| rows[at..at + ROWS].iter().map(|r| r.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    (0..rows.len()).filter(whole).map(screen).collect()
}

/// What a machine had written to a disk since QEMU started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}

/// What a screen shows, as pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Three bytes a pixel.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads a binary PPM, as QEMU writes it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.splitn(4, |b| b.is_ascii_whitespace());
        let mut number = |magic: bool| {
            let field = std::str::from_utf8(fields.next()?).ok()?;
            if magic { (field == "P6").then_some(0) } else { field.parse().ok() }
        };
        number(true)?;
        let (width, height): (usize, usize) = (number(false)?, number(false)?);
        let rest = fields.next()?;
        let pixels = rest.get(rest.iter().position(|b| *b == b'\n')? + 1..)?;
        (pixels.len() == width.checked_mul(height)?.checked_mul(3)?).then(|| Self {
            width,
            height,
            pixels: pixels.to_vec(),
        })
    }

    /// How many pixels in a thousand are not black.
    pub fn lit(&self) -> usize {
        let all = self.pixels.len() / 3;
        self.pixels.chunks_exact(3).filter(|p| p.iter().any(|b| *b > 0)).count() * 1000 / all.max(1)
    }

    /// The colours there are.
    pub fn colours(&self) -> usize {
        self.pixels.chunks_exact(3).collect::<std::collections::HashSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read() {
        let picture = Picture::read(b"P6\n2 1\n255\n\0\0\0\n\x01\x02").unwrap();
        assert_eq!((picture.width, picture.height, picture.lit(), picture.colours()), (2, 1, 500, 2));
        assert_eq!(Picture::read(b"P6\n2 2\n255\n\0\0\0"), None);
        assert_eq!(Picture::read(b"P5\n1 1\n255\n\0\0\0"), None);
    }

    #[test]
    fn the_text_memory_is_read_wherever_it_was_scrolled_to() {
        let mut memory = vec![0; 0x8000];
        let at = 7 * ROW;
        for (i, b) in " HOLDFAST  what happened".bytes().enumerate() {
            memory[at + 2 * i] = b;
            memory[at + 2 * i + 1] = 0x70;
        }
        memory[at + 24 * ROW] = b'x';
        let found = screens(&memory);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(" HOLDFAST  what happened\n") && found[0].ends_with("\nx"));
        assert_eq!(screens(&vec![0; 0x8000]), Vec::<String>::new());
    }
}
