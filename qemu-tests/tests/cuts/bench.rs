//! The target, the rescue halted at its first write, and what is done with them.

use crate::point::Point;
use crate::record::{Record, Uncut};
use model::inspection::GPT_STORE;
use qemu_tests::breakage::Target;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Firmware, Machine, Parts, run};
use qemu_tests::partitions::Partitions;
use qemu_tests::patch::Patch;
use qemu_tests::qmp::{Qmp, Written};
use qemu_tests::rescue::{self, Session};
use qemu_tests::{Result, large, target};
use serde_json::Value;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The drives, in the order in which they are attached.
const DISK: usize = 1;
/// How long the writing may take, uncut.
const WRITING: Duration = Duration::from_secs(900);
/// How long a machine that must not start is given to say so, or to start.
const REFUSAL: Duration = Duration::from_secs(90);
/// How often it is asked how much was written.
const ASKED: Duration = Duration::from_millis(4);
/// Bytes of the stick: more than the image, so that the store grows.
const STICK: u64 = 4_000_000_000;
/// A file whose content differs between what was saved and what stands on the disk: most of what is written.
const LEDGER: &str = "dd if=/dev/urandom of=/root/ledger bs=1M count=32 conv=notrunc 2>/dev/null && sync";

/// The way out of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Finish,
    Undo,
}

/// What every cut begins with.
pub(crate) struct Bench {
    folder: PathBuf,
    holdfast: PathBuf,
    /// What of the disk the rescue had written when it was halted.
    begun: Patch,
    /// What an uncut rollback changes.
    after: Patch,
    /// What of the target's root was free before the rollback, as ranges of the disk.
    free: Vec<Range<u64>>,
    partitions: Partitions,
}

impl Bench {
    /// What was kept, where it is of this image and target; else it is made.
    pub(crate) fn ready(folder: &Path, image: &Path, say: &mut dyn FnMut(&str)) -> Result<(Self, Record)> {
        // What a run that was killed left mounted.
        let _ = Command::new("umount").arg(folder.join("store")).stderr(Stdio::null()).status();
        let base = target::debian(say)?;
        let own =
            [include_str!("bench.rs"), include_str!("point.rs")].map(|text| model::id::Digest::of(text.as_bytes()));
        let made_of = format!("{} {} {} {}", rescue::fingerprint(image)?, target::recipe()?, own[0], own[1]);
        let mut bench = Self {
            folder: folder.to_path_buf(),
            holdfast: image_builder::programs::build_one("holdfast", "holdfast")?,
            begun: Patch::default(),
            after: Patch::default(),
            free: Vec::new(),
            partitions: Partitions::of(&base)?,
        };
        if let Some(record) = Record::kept(folder).filter(|r| r.made_of == made_of) {
            if let Ok(found) = fs::read_to_string(bench.file("found.txt")) {
                let folder = folder.display();
                return Err(format!(
                    "a cut of an earlier run went wrong; its images are in {folder}, remove that to begin anew:\n{found}"
                )
                .into());
            }
            bench.begun = Patch::kept(&bench.file("begun.patch"))?;
            bench.after = Patch::kept(&bench.file("after.patch"))?;
            bench.free = free(&Target::new(&bench.file("prior.img"), 512, &base)?)?;
            say("going on with what an earlier run made");
            return Ok((bench, record));
        }
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let uncut = bench.make(&base, image, say)?;
        let record = Record { made_of, uncut, done: Vec::new() };
        record.keep(folder)?;
        Ok((bench, record))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn disk(&self) -> PathBuf {
        self.file("disk.img")
    }

    fn target(&self, name: &str) -> Parts {
        Parts::new(name, &self.folder).disk(&self.disk(), Bus::Virtio, "TARGET")
    }

    fn rescued(&self, name: &str) -> Parts {
        let parts = Parts::new(name, &self.folder).memory(rescue::MEMORY).controlled();
        parts.disk(&self.file("stick.img"), Bus::Usb, "STICK").disk(&self.disk(), Bus::Virtio, "TARGET")
    }

    fn make(&mut self, base: &Path, image: &Path, say: &mut dyn FnMut(&str)) -> Result<Uncut> {
        let (disk, stick, good, prior) =
            (self.disk(), self.file("stick.img"), self.file("good.img"), self.file("prior.img"));
        copy(base, &disk)?;
        copy(image, &stick)?;
        File::options().write(true).open(&stick)?.set_len(STICK)?;
        say("the target starts, writes its ledger and powers off");
        let mut guest = Guest::login(self.target("first").start()?)?;
        guest.run(LEDGER, Duration::from_secs(120))?;
        guest.poweroff()?;
        say("the rescue saves it");
        let mut session = Session::start(&self.rescued("save"))?;
        session.snapshot()?;
        session.poweroff()?;
        copy(&disk, &good)?;
        say("it writes its ledger anew and loses its kernel; its ESP and the second copy of its table are overwritten");
        let mut guest = Guest::login(self.target("second").start()?)?;
        guest
            .run(&format!("{LEDGER} && apt-get -q -y install /opt/packages/install/*.deb"), Duration::from_secs(300))?;
        guest.run("rm /boot/vmlinuz-* && sync", Duration::from_secs(60))?;
        guest.poweroff()?;
        let broken = Target::new(&disk, 512, base)?;
        broken.zero(broken.esp().start, 64 << 10)?;
        let len = fs::metadata(&disk)?.len();
        broken.zero(len - 33 * 512, 33 * 512)?;
        copy(&disk, &prior)?;
        self.free = free(&Target::new(&prior, 512, base)?)?;

        say("the rescue is brought to its first write, and halted there");
        let mut session = Session::start(&self.rescued("begin"))?;
        println!("{}", session.plan_rollback()?);
        session.machine.control()?.slow(DISK, true)?;
        session.begin("ROLLBACK")?;
        wait_for(&mut session.machine, Duration::from_millis(50), &mut |written, _| written.requests > 0)?;
        session.machine.control()?.keep_state(&self.file("state"))?;
        session.machine.cut_power();
        // A program of its own writes that file, from a pipe.
        sleep(Duration::from_secs(1));
        self.begun = Patch::between(&prior, &disk)?;
        if self.begun.is_empty() || self.begun.len() > 64 << 10 {
            return Err(format!("it was halted after {} bytes: not at its first write", self.begun.len()).into());
        }
        self.begun.keep(&self.file("begun.patch"))?;
        copy(&stick, &self.file("stick-base.img"))?;

        say("it goes on from there, uncut");
        let uncut = self.uncut()?;
        self.after = Patch::between(&prior, &disk)?;
        self.after.keep(&self.file("after.patch"))?;
        self.holds_what_was_saved(&good, base)?;
        fs::remove_file(good)?;
        Ok(uncut)
    }

    /// Starts the rescue where it was halted.
    fn resumed(&self, name: &str) -> Result<Machine> {
        self.begun.make(&self.file("prior.img"), &self.disk())?;
        Patch::default().make(&self.file("stick-base.img"), &self.file("stick.img"))?;
        let [option, value] = Qmp::from_state(&self.file("state"));
        let mut machine = self.rescued(name).with(&[&option, &value]).start()?;
        machine.control()?.go_on()?;
        // All of the screen, which was drawn before.
        machine.console.send("\x0c")?;
        Ok(machine)
    }

    /// Lets it go on to its end.
    fn uncut(&self) -> Result<Uncut> {
        let mut machine = self.resumed("uncut")?;
        let began = Instant::now();
        let (mut first, mut last) = (None, (Written::default(), Duration::ZERO));
        wait_for(&mut machine, ASKED, &mut |written, screen| {
            let now = began.elapsed();
            if written != last.0 {
                first.get_or_insert(now);
                last = (written, now);
            }
            has_ended(screen)
        })?;
        let screen = machine.console.screen();
        println!("{screen}");
        if !screen.contains("DONE. The machine is back at the saved state.") {
            return Err("it did not end well".into());
        }
        machine.cut_power();
        let millis = u64::try_from((last.1 - first.unwrap_or_default()).as_millis())?;
        Ok(Uncut { bytes: last.0.bytes, requests: last.0.requests, millis })
    }

    /// The disk holds what was saved: all that is in use, told by the file system's own tools, and both copies of the table. Swap is kept.
    fn holds_what_was_saved(&self, good: &Path, like: &Path) -> Result<()> {
        let (now, then) = (Target::new(&self.disk(), 512, like)?, Target::new(good, 512, like)?);
        now.check()?;
        let mut free = free(&then)?;
        let others = self.partitions.all.iter().filter(|p| ![1, 2, 3].contains(&p.number));
        free.extend(others.map(|p| p.start..p.start + p.len));
        let differs = Patch::between(good, &self.disk())?.places(usize::MAX);
        let within = |place: &Range<u64>| free.iter().any(|f| f.start <= place.start && place.end <= f.end);
        match differs.iter().flat_map(|place| blocks(place.clone())).find(|block| !within(block)) {
            None => Ok(()),
            Some(block) => {
                Err(format!("after a rollback the disk is not what was saved, at byte {}", block.start).into())
            }
        }
    }

    /// Bytes of the disk that are others after a rollback.
    pub(crate) fn differs(&self) -> u64 {
        self.after.len()
    }

    /// Lets the rescue go on from its first write and cuts the power. Gives the bytes written when it was last asked.
    pub(crate) fn cut(&self, point: &Point) -> Result<u64> {
        let mut machine = self.resumed("cut")?;
        let began = Instant::now();
        let mut first = None;
        let mut seen = 0;
        wait_for(&mut machine, ASKED, &mut |written, _| {
            seen = written.bytes;
            if written.requests > 0 {
                first.get_or_insert_with(|| began.elapsed());
            }
            match point {
                Point::Bytes(bytes) => written.bytes >= *bytes,
                Point::Requests(requests) => written.requests >= *requests,
                Point::Time(after) => first.is_some_and(|first| began.elapsed() >= first + *after),
            }
        })?;
        machine.cut_power();
        Ok(seen)
    }

    /// The partitions on which a fence stands.
    pub(crate) fn fences(&self) -> Result<Vec<u32>> {
        let file = File::open(self.disk())?;
        let mut fenced = Vec::new();
        for p in &self.partitions.all {
            let mut sector = [0; 512];
            file.read_exact_at(&mut sector, p.start)?;
            fenced.extend(disk::fence::decode(&sector).map(|_| p.number));
        }
        Ok(fenced)
    }

    /// Without a fence the disk is what it was before, or what it is to be.
    pub(crate) fn is_whole(&self) -> Result<String> {
        let (prior, disk) = (self.file("prior.img"), self.disk());
        if Patch::between(&prior, &disk)?.is_empty() {
            return Ok("as it was before".into());
        }
        self.after.missed(&prior, &disk).and_then(same).map(|()| "as it is to be".into())
    }

    /// Nothing starts from the disk as it is. What a machine would write goes nowhere.
    pub(crate) fn refuses(&self, sample: u64, fenced: &[u32]) -> Result<()> {
        let firmware = if sample.is_multiple_of(2) { Firmware::Bios } else { Firmware::Uefi };
        // What this firmware goes through: its own partition, and the root.
        let own = if firmware == Firmware::Bios { 1 } else { 2 };
        if !fenced.contains(&3) && !fenced.contains(&own) {
            println!("on {firmware:?} the way is free already, with all of it as it is to be: not tried");
            return Ok(());
        }
        let mut machine = self.target("refuses").firmware(firmware).with(&["-snapshot"]).start()?;
        let says = [
            "Linux version",
            "login: ",
            "a rollback is not finished",
            "no such device",
            "No bootable",
            "failed to load",
            "Interactive Shell",
        ];
        match machine.console.expect_any(&says, REFUSAL)? {
            (0 | 1, _) => Err(format!("on {firmware:?} a kernel starts, with fences on {fenced:?}").into()),
            (said, _) => {
                println!("on {firmware:?}, with fences on {fenced:?}: {:?}", says.get(said));
                Ok(())
            }
        }
    }

    /// By the program of this computer, on the image and the stick's store.
    pub(crate) fn by_the_program(&self, way: Way, fenced: &[u32]) -> Result<()> {
        let store = Store::mount(&self.file("stick.img"), &self.file("store"))?;
        let told = self.holdfast(&["inspect"], &store, &[0, 3])?;
        let said = |v: &Value| v["volume"].as_str().and_then(|v| v.strip_prefix("d0/p")?.parse::<u32>().ok());
        let mut unfinished: Vec<u32> = told["unfinished"].as_array().into_iter().flatten().filter_map(said).collect();
        unfinished.sort_unstable();
        if unfinished != fenced {
            return Err(format!("fences stand on {fenced:?}, and it tells of {unfinished:?}").into());
        }
        let (verb, other) = match way {
            Way::Finish => ("resume", "undo"),
            Way::Undo => ("undo", "resume"),
        };
        let plan = self.holdfast(&[other, "--plan"], &store, &[0])?;
        if plan["plan"]["usable"] != true {
            return Err(format!("{other} is not offered: {plan}").into());
        }
        let done = self.holdfast(&[verb, "--yes"], &store, &[0])?;
        if done["done"].is_null() {
            return Err(format!("{verb} did nothing: {done}").into());
        }
        store.unmount()?;
        self.is(way)
    }

    fn holdfast(&self, verb: &[&str], store: &Store, codes: &[i32]) -> Result<Value> {
        let mut command = Command::new(&self.holdfast);
        command.args(verb).arg(self.disk()).arg("--store").arg(&store.at).arg("--json").stdin(Stdio::null());
        // The store is put back to an earlier state for each cut: what was remembered of it would be held against that.
        command.env("XDG_STATE_HOME", self.file("nothing-remembered"));
        let _ = fs::remove_dir_all(self.file("nothing-remembered"));
        let out = command.output()?;
        let said = String::from_utf8_lossy(&out.stdout);
        if !out.status.code().is_some_and(|code| codes.contains(&code)) {
            return Err(format!("{verb:?} ended with {}: {said}", out.status).into());
        }
        Ok(serde_json::from_str(&said)?)
    }

    /// By keystrokes, in the rescue.
    pub(crate) fn by_keystrokes(&self, way: Way) -> Result<()> {
        let mut session = Session::start(&self.rescued("rescue"))?;
        let screen = session.screen();
        println!("{screen}");
        for words in ["A ROLLBACK WAS CUT OFF", "1  Finish the rollback", "2  Undo it"] {
            if !screen.contains(words) {
                return Err(format!("the screen does not say {words:?}").into());
            }
        }
        let (key, word) = match way {
            Way::Finish => ("1", "FINISH"),
            Way::Undo => ("2", "UNDO"),
        };
        session.press(key, &["please read, then decide", word])?;
        println!("{}", session.approve(word)?);
        session.poweroff()?;
        self.is(way)
    }

    /// Every byte is what it is to be. Undone, what was free before may hold what the rollback wrote there, and nothing else.
    fn is(&self, way: Way) -> Result<()> {
        let (prior, disk) = (self.file("prior.img"), self.disk());
        match way {
            Way::Finish => self.after.missed(&prior, &disk).and_then(same),
            Way::Undo => {
                let was_free = |at| self.free.iter().any(|f| f.start <= at && at + 4096 <= f.end);
                let free = |at, now: &[u8]| was_free(at) && self.after.at(at) == Some(now);
                same(Patch::between(&prior, &disk)?.without(free))
            }
        }
    }

    /// Keeps what went wrong; the images stay as it left them.
    pub(crate) fn found(&self, number: u64, point: &Point, what: &str) {
        let _ = fs::write(self.file("found.txt"), format!("cut {number} ({point:?}): {what}\n"));
    }
}

/// What is free of a target's root, as ranges of its disk, by the file system's own tools.
fn free(target: &Target) -> Result<Vec<Range<u64>>> {
    let start = target.root().start;
    Ok(large::free(&target.root_volume())?.into_iter().map(|r| start + r.start..start + r.end).collect())
}

/// Nothing differs.
fn same(missed: Patch) -> Result<()> {
    match missed.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("{} bytes are not what they are to be, first at {:?}", missed.len(), missed.places(4)).into())
        }
    }
}

fn blocks(place: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    place.step_by(4096).map(|at| at..at + 4096)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to))
}

/// True where the rescue says how its work ended.
fn has_ended(screen: &str) -> bool {
    screen.contains("how it ended") && screen.contains("What to do next")
}

/// Asks again and again how much was written, until that, or what the screen shows, is enough; or the work has ended.
fn wait_for(machine: &mut Machine, every: Duration, enough: &mut dyn FnMut(Written, &str) -> bool) -> Result<()> {
    let began = Instant::now();
    loop {
        let written = machine.control()?.written(DISK)?;
        let screen = machine.console.screen();
        if enough(written, &screen) || has_ended(&screen) {
            return Ok(());
        }
        if began.elapsed() > WRITING {
            return Err(format!("waited {} s, with {written:?}; the screen:\n{screen}", WRITING.as_secs()).into());
        }
        sleep(every);
    }
}

/// The store on a stick's image, mounted through a loop device.
struct Store {
    mounted: PathBuf,
    /// Where it lies on it (docs/boot-contract.md).
    at: PathBuf,
    held: bool,
}

impl Store {
    fn mount(stick: &Path, at: &Path) -> Result<Self> {
        let partitions = Partitions::of(stick)?;
        let store =
            partitions.all.iter().find(|p| p.kind.eq_ignore_ascii_case(GPT_STORE)).ok_or("the stick has no store")?;
        fs::create_dir_all(at)?;
        let options = format!("loop,offset={},sizelimit={}", store.start, store.len);
        run(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(stick).arg(at)).map_err(|e| {
            format!("{e}; this scenario mounts the stick's store through a loop device: run it as root")
        })?;
        Ok(Self { mounted: at.to_path_buf(), at: at.join("holdfast"), held: true })
    }

    fn unmount(mut self) -> Result<()> {
        self.held = false;
        run(Command::new("umount").arg(&self.mounted))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.held {
            let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
        }
    }
}
