//! The composer role: a process that has a saved volume mounted, in no place that anybody else can see, and puts files onto it as the
//! engine says. The volume's bytes are those that the engine answers for (`sys::served_file`): nothing here is a disk's.
//!
//! A process of its own, so that the one who answers never waits for the mount: whichever of the two is killed, the other gets an
//! error or ends, and the kernel takes the mount and the block device down.

use super::orders::{Answer, Given, MOST_BYTES, MOST_ORDER, Order, ROOT};
use crate::frame;
use model::units::{ByteLen, ByteOffset};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use sys::loop_device::LoopDevice;
use sys::new_tree::standing;
use sys::new_tree::{Dir, Marks, NewEntry};
use sys::process::{FIRST_INHERITED, take_inherited};
use sys::{detached, served_file};

/// Bytes written before they are made durable: what waits in memory to be written out must never be much of it, for those who write
/// it out need memory too.
const SYNC_EVERY: u64 = 32 << 20;

/// The main loop of the role: orders on descriptor 3, the way to the served file on 4. Returns the exit code of the process.
pub fn serve() -> u8 {
    match answer_all() {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("holdfast composer: {e}");
            1
        }
    }
}

fn answer_all() -> io::Result<()> {
    let mut socket = UnixStream::from(take_inherited(FIRST_INHERITED)?);
    let channel = take_inherited(FIRST_INHERITED + 1)?;
    standing::exact_modes();
    let served = detached::served(channel.as_fd());
    // The engine's copy is the last then: with it everything that waits here ends.
    drop(channel);
    let first = served.as_ref().map_or_else(Answer::failed, |_| Answer::Done);
    frame::send_json(&mut socket, &first, MOST_ORDER)?;
    let mut desk = Desk { served: Some(served?), root: None, open: HashMap::new(), next: ROOT + 1, unsynced: 0 };
    while let Some(order) = frame::receive_json::<Order>(&mut socket, MOST_ORDER)? {
        let bytes = match order {
            Order::Write(..) => frame::receive(&mut socket, MOST_BYTES)?.ok_or(io::ErrorKind::UnexpectedEof)?,
            _ => Vec::new(),
        };
        let answer = desk.carry_out(order, &bytes).unwrap_or_else(|e| Answer::failed(&e));
        frame::send_json(&mut socket, &answer, MOST_ORDER)?;
    }
    Ok(())
}

/// Something that is open.
enum Open {
    /// A directory that was made.
    Dir(Dir),
    /// A directory that stood there, with the times it had: others are put into it, and it keeps them.
    Standing(Dir, (i64, i64)),
    File(NewEntry),
}

struct Desk {
    /// The root of the file system with the one file.
    served: Option<OwnedFd>,
    /// The root of the volume, with the times it had.
    root: Option<(Dir, (i64, i64))>,
    open: HashMap<u32, Open>,
    next: u32,
    /// Bytes written since the last sync.
    unsynced: u64,
}

impl Desk {
    fn carry_out(&mut self, order: Order, bytes: &[u8]) -> io::Result<Answer> {
        match order {
            Order::Mount { grows } => self.mount(grows)?,
            Order::Grow(len) => self.dir(ROOT)?.grow_file_system(ByteLen(len))?,
            Order::Existing(dir, name) => {
                let found = self.dir(dir)?.existing(&name)?;
                let times = found.times()?;
                return Ok(self.opened(Open::Standing(found, times)));
            }
            Order::Clear(dir, name) => self.dir(dir)?.clear(&name)?,
            Order::Dir(dir, name) => {
                let made = self.dir(dir)?.dir(&name)?;
                if self.stands(dir) {
                    made.disinherit()?;
                }
                return Ok(self.opened(Open::Dir(made)));
            }
            Order::File(dir, name) => {
                let made = self.dir(dir)?.file(&name)?;
                if self.stands(dir) {
                    made.disinherit()?;
                }
                return Ok(self.opened(Open::File(made)));
            }
            Order::SetLen(file, len) => self.file(file)?.set_len(ByteLen(len))?,
            Order::Write(file, at) => {
                self.file(file)?.write_all_at(ByteOffset(at), bytes)?;
                self.unsynced += bytes.len() as u64;
                if self.unsynced >= SYNC_EVERY {
                    self.unsynced = 0;
                    self.dir(ROOT)?.sync_all()?;
                }
            }
            Order::Mark(number, given) => match self.open.get(&number).ok_or_else(unknown)? {
                Open::Dir(dir) | Open::Standing(dir, _) => dir.mark(&given.into())?,
                Open::File(file) => file.mark(&given.into())?,
            },
            Order::Symlink(dir, name, target, given) => {
                let (marks, dir) = (Marks::from(given), self.dir(dir)?);
                dir.symlink(&name, &target, &marks)?;
                dir.mark_special(&name, None, &marks.xattrs)?;
            }
            Order::Special(dir, name, mode, device, given) => self.special(dir, &name, mode, device, given)?,
            Order::Link(from, path, dir, name) => self.dir(from)?.link(&path, self.dir(dir)?, &name)?,
            Order::Remove(dir, name) => self.dir(dir)?.remove(&name)?,
            Order::Close(number) => self.close(number)?,
            Order::End => self.end()?,
        }
        Ok(Answer::Done)
    }

    fn mount(&mut self, grows: bool) -> io::Result<()> {
        let served = self.served.take().ok_or_else(unknown)?;
        let file = standing::file(&served, served_file::NAME.as_bytes())?;
        let device = LoopDevice::over(&file)?;
        let source = device.path().to_string_lossy().into_owned();
        let mut options = vec![("source", Some(source.as_str()))];
        // Inode tables that were never written are left so: the kernel would fill all of them with zeros by and by. One that is told to
        // leave them alone fills those of what it adds at once: then it is not told, and has no time for it.
        if !grows {
            options.push(("noinit_itable", None));
        }
        let root = detached::mount("ext4", &options)?;
        let root = Dir::of(root);
        let times = root.times()?;
        self.root = Some((root, times));
        Ok(())
    }

    fn special(&self, dir: u32, name: &[u8], mode: u32, device: (u32, u32), given: Given) -> io::Result<()> {
        let (marks, dir) = (Marks::from(given), self.dir(dir)?);
        // The owner first: a change of owner takes set-user-ID bits away. The times last.
        dir.special(name, mode, device, &Marks { times: None, ..marks.clone() })?;
        dir.mark_special(name, Some(marks.mode), &marks.xattrs)?;
        dir.time_special(name, marks.times)
    }

    /// Unmounts: with the last descriptor of its root.
    fn end(&mut self) -> io::Result<()> {
        let numbers: Vec<u32> = self.open.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.close(number))?;
        let (root, times) = self.root.take().ok_or_else(unknown)?;
        root.set_times(times)?;
        root.sync_all()
    }

    fn close(&mut self, number: u32) -> io::Result<()> {
        match self.open.remove(&number) {
            Some(Open::Standing(dir, times)) => dir.set_times(times),
            _ => Ok(()),
        }
    }

    fn opened(&mut self, what: Open) -> Answer {
        let number = self.next;
        self.next = self.next.wrapping_add(1).max(ROOT + 1);
        self.open.insert(number, what);
        Answer::Opened(number)
    }

    fn stands(&self, number: u32) -> bool {
        number == ROOT || matches!(self.open.get(&number), Some(Open::Standing(..)))
    }

    fn dir(&self, number: u32) -> io::Result<&Dir> {
        match (number, self.open.get(&number)) {
            (ROOT, _) => self.root.as_ref().map(|(root, _)| root).ok_or_else(unknown),
            (_, Some(Open::Dir(dir) | Open::Standing(dir, _))) => Ok(dir),
            _ => Err(unknown()),
        }
    }

    fn file(&self, number: u32) -> io::Result<&NewEntry> {
        match self.open.get(&number) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(unknown()),
        }
    }
}

fn unknown() -> io::Error {
    io::Error::other("nothing is open there")
}
