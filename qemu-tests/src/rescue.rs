//! The rescue image, and driving its terminal UI over the serial line as a person would.

use crate::machine::{Machine, Parts, run};
use crate::{Result, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Memory of the machines the rescue runs on, in MiB: what it promises to work in.
pub const MEMORY: u32 = 384;

/// How long the rescue may take to its first screen without hardware acceleration.
const START: Duration = Duration::from_secs(180);
/// How the kernel ends where the host was so busy that an emulated timer missed its ticks (arch/x86/kernel/apic/io_apic.c,
/// `check_timer`): it never got as far as the rescue.
const EMULATED_TIMER: &str = "IO-APIC + timer doesn't work";
/// How long a snapshot or a rollback of a test target may take without hardware acceleration.
const WORK: Duration = Duration::from_secs(900);
/// How long a screen may take to answer a key.
const ANSWER: Duration = Duration::from_secs(30);

/// Where `cargo verify` has just built the image, it says so in this variable: a scenario by itself builds its own.
pub const BUILT: &str = "HOLDFAST_IMAGE";

/// Builds the USB image with the builder's own command, and gives its path.
///
/// # Errors
/// Where the builder fails.
pub fn image() -> Result<PathBuf> {
    if let Some(built) = std::env::var_os(BUILT) {
        return Ok(built.into());
    }
    let file = workspace::cache()?.join("holdfast.img");
    let built =
        Command::new(env!("CARGO")).args(["image", "usb", "-o"]).arg(&file).current_dir(workspace::root()).status()?;
    if built.success() { Ok(file) } else { Err("the rescue image could not be built".into()) }
}

/// A 4 GB stick with the image on it: larger than the image, as sticks are, so that the store has to grow. A copy of its own:
/// the image may be built anew while the stick is in use.
///
/// # Errors
/// Where qemu-img fails.
pub fn stick(image: &Path, file: &Path) -> Result<PathBuf> {
    run(Command::new("qemu-img").args(["convert", "-O", "qcow2"]).arg(image).arg(file))?;
    run(Command::new("qemu-img").args(["resize", "-q"]).arg(file).arg("4G"))?;
    Ok(file.to_path_buf())
}

/// What tells one image from another: its manifest, which names every file in it by its hash.
///
/// # Errors
/// Where it is not there.
pub fn fingerprint(image: &Path) -> Result<String> {
    let mut manifest = image.as_os_str().to_owned();
    manifest.push(".manifest.json");
    Ok(model::id::Digest::of(&fs::read(manifest)?).to_string())
}

/// The rescue, started, seen through its serial line.
pub struct Session {
    /// The machine it runs on.
    pub machine: Machine,
    /// How long a snapshot or a rollback may take.
    pub patience: Duration,
}

impl Session {
    /// Starts the machine and waits until the first screen has said what happened.
    ///
    /// # Errors
    /// Where that does not come in time.
    pub fn start(parts: &Parts) -> Result<Self> {
        // A screen is painted piece by piece: what is waited for must stand on the wanted one alone.
        let told =
            ["Last shutdown", "No installed system was found", "No disk of this machine", "A ROLLBACK WAS CUT OFF"];
        Self::first_screen(parts, None, |s| s.contains("What to do next") && told.iter().any(|t| s.contains(t)))
    }

    /// Starts the machine by the entry of the boot menu that does what a policy calls for, and waits until the screen says what
    /// will be done unless a key is pressed.
    ///
    /// # Errors
    /// Where that does not come in time.
    pub fn start_unattended(parts: &Parts) -> Result<Self> {
        Self::first_screen(parts, Some(("(key a)", "a")), |s| {
            s.contains("BY ITSELF IN") && s.contains("it is saved") && s.contains("Once it is stopped")
        })
    }

    /// Starts the machine and waits for a screen; where the menu shows `choose`, it is sent the key behind it.
    fn first_screen(parts: &Parts, choose: Option<(&str, &str)>, is: impl Fn(&str) -> bool) -> Result<Self> {
        for _ in 0..3 {
            let mut machine = parts.start()?;
            if let Some((entry, key)) = choose {
                machine.console.expect_screen("the boot menu", START, |s| s.contains(entry))?;
                machine.console.send(key)?;
            }
            let screen = machine
                .console
                .expect_screen("the rescue's first screen", START, |s| s.contains(EMULATED_TIMER) || is(s))?;
            if !screen.contains(EMULATED_TIMER) {
                return Ok(Self { machine, patience: WORK });
            }
            println!("the emulated timer came too late on a busy host; starting again");
        }
        Err("this host is too busy to emulate a timer".into())
    }

    /// The screen as it is now, once it has not changed for a moment.
    pub fn screen(&self) -> String {
        let mut before = self.machine.console.screen();
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.machine.console.screen();
            if now == before {
                break;
            }
            before = now;
        }
        before
    }

    /// Everything that came over the serial line.
    pub fn transcript(&self) -> String {
        self.machine.console.transcript()
    }

    /// Presses keys and waits for a screen with all of these words on it.
    ///
    /// # Errors
    /// Where it does not come within half a minute.
    pub fn press(&mut self, keys: &str, words: &[&str]) -> Result<String> {
        self.machine.console.send(keys)?;
        self.expect(words, ANSWER)
    }

    fn expect(&mut self, words: &[&str], limit: Duration) -> Result<String> {
        self.machine.console.expect_screen(&format!("{words:?}"), limit, |s| words.iter().all(|w| s.contains(w)))
    }

    /// Waits for the end of the running work.
    fn ended(&mut self) -> Result<String> {
        // The rows come over the line one after the other: the last of them shows that the screen is whole.
        self.expect(&["how it ended", "What to do next"], self.patience)?;
        let screen = self.screen();
        if screen.contains("DONE.") { Ok(screen) } else { Err(format!("it did not end well:\n{screen}").into()) }
    }

    /// Unlocks the encrypted volume that is found first among the disks; what lies in it may be saved in clear. Gives the overview with
    /// what is seen then.
    ///
    /// # Errors
    /// Where the passphrase is not that of the volume, or a screen does not come.
    pub fn unlock(&mut self, passphrase: &str) -> Result<String> {
        self.press("d", &["LUKS, locked"])?;
        self.press("/", &["Find"])?;
        self.machine.console.send("LUKS\r")?;
        self.press("u", &["is encrypted. Type its passphrase", "Tab allows"])?;
        self.press("\t", &["IN CLEAR"])?;
        self.machine.console.send(&format!("{passphrase}\r"))?;
        self.expect(&["LUKS, unlocked"], self.patience)?;
        self.press("\u{1b}", &["What to do next", "Last shutdown"])
    }

    /// Saves a snapshot; gives the screen that says so.
    ///
    /// # Errors
    /// Where it fails.
    pub fn snapshot(&mut self) -> Result<String> {
        self.machine.console.send("s")?;
        self.ended()
    }

    /// Goes to the timeline, where the last good state is chosen, and asks for the plan; gives the plan's screen.
    ///
    /// # Errors
    /// Where a screen does not come.
    pub fn plan_rollback(&mut self) -> Result<String> {
        self.press("r", &["saved states", "last good"])?;
        self.press("\r", &["please read, then decide", "ROLLBACK"])
    }

    /// Types the word that approves the plan shown.
    ///
    /// # Errors
    /// Where the screen does not take it for that word.
    pub fn begin(&mut self, word: &str) -> Result<()> {
        self.machine.console.send(word)?;
        self.expect(&["now press Enter"], ANSWER)?;
        self.machine.console.send("\r")
    }

    /// Types the word that approves the plan shown, and waits for the end; gives the screen that says so.
    ///
    /// # Errors
    /// Where it fails.
    pub fn approve(&mut self, word: &str) -> Result<String> {
        self.begin(word)?;
        self.ended()
    }

    /// Types the word and cuts the power as soon as the screen says that writing has begun.
    ///
    /// # Errors
    /// Where it never says so.
    pub fn approve_and_cut(mut self, word: &str) -> Result<()> {
        self.begin(word)?;
        self.expect(&["Please leave the power on"], self.patience)?;
        self.machine.cut_power();
        Ok(())
    }

    /// Powers off through the power menu.
    ///
    /// # Errors
    /// Where the machine does not switch off.
    pub fn poweroff(mut self) -> Result<()> {
        self.press("p", &["restart or power off", "Power off"])?;
        self.machine.console.send("jj")?;
        self.expect(&["\u{25b8} 2"], ANSWER).or_else(|_| self.expect(&["> 2"], ANSWER))?;
        self.machine.console.send("\r")?;
        self.machine.wait_off(Duration::from_secs(90))
    }
}

/// The words stand on a screen, over line ends too: it breaks lines where they are full.
///
/// # Errors
/// Where they do not, with the screen.
pub fn must(screen: &str, words: &[&str]) -> Result<()> {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.iter().find(|w| !flat(screen).contains(&flat(w))) {
        None => Ok(()),
        Some(w) => Err(format!("the screen does not say {w:?}:\n{screen}").into()),
    }
}
