//! A saved volume that is mounted by another process, and the tree on it as the engine has it: each thing done is an order.

use super::orders::{Answer, MOST_ORDER, Order, ROOT};
use crate::frame;
use crate::run::files::{Filled, MakeIn};
use crate::run::overlay::Overlay;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use sys::new_tree::Marks;
use sys::process::{Child, Launch, describe};
use sys::served_file::{Served, Serving};

/// How long one order may take: a large directory is removed by one, and up to 32 MiB are written out.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How long the process may take to end.
const END: Duration = Duration::from_secs(5);
/// Threads that answer for the bytes: the kernel asks for several pieces at a time, and one may wait for the store.
const THREADS: usize = 3;

/// A volume that lies on an overlay, as a file that is served.
struct Bytes {
    overlay: Arc<Overlay>,
    place: Extent,
}

impl Bytes {
    /// Where bytes of the volume lie.
    fn within(&self, at: u64, len: u64) -> io::Result<ByteOffset> {
        let end = at.checked_add(len).filter(|end| *end <= self.place.len().0);
        let found = end.and_then(|_| self.place.start().checked_add(ByteLen(at)));
        found.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}

impl Served for Bytes {
    fn size(&self) -> u64 {
        self.place.len().0
    }

    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = self.within(at, buf.len() as u64)?;
        self.overlay.read_exact_at(at, buf).map_err(io::Error::other)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.overlay.write(self.within(at, bytes.len() as u64)?, bytes)
    }

    fn zero(&self, at: u64, len: u64) -> io::Result<()> {
        self.overlay.zero(self.within(at, len)?, ByteLen(len))
    }
}

/// The way to the process.
struct Line {
    process: Child,
    socket: UnixStream,
    serving: Serving,
}

impl Line {
    fn answer(&mut self) -> io::Result<Answer> {
        match frame::receive_json(&mut self.socket, MOST_ORDER) {
            Ok(Some(Answer::Failed(Some(errno), _))) => Err(io::Error::from_raw_os_error(errno)),
            Ok(Some(Answer::Failed(None, says))) => Err(io::Error::other(says)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.ended()),
            Err(e) => Err(io::Error::other(format!("the process that has it mounted does not answer: {e}"))),
        }
    }

    fn ended(&mut self) -> io::Error {
        let how = self.process.wait_for(END).ok().flatten().map_or("is gone".to_owned(), describe);
        io::Error::other(format!("the process that has it mounted {how}"))
    }

    fn ask(&mut self, order: &Order, bytes: Option<&[u8]>) -> io::Result<Answer> {
        let sent = frame::send_json(&mut self.socket, order, MOST_ORDER).and_then(|()| {
            bytes.map_or(Ok(()), |bytes| frame::send(&mut self.socket, bytes, super::orders::MOST_BYTES))
        });
        match sent {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(self.ended()),
            Err(e) => Err(e),
            Ok(()) => self.answer(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It holds nothing that is missed.
        let _ = self.process.kill();
        let _ = self.process.wait_for(END);
    }
}

type Shared = Rc<RefCell<Line>>;

fn done(line: &Shared, order: &Order, bytes: Option<&[u8]>) -> io::Result<()> {
    line.borrow_mut().ask(order, bytes).map(|_| ())
}

fn opened(line: &Shared, order: &Order) -> io::Result<Remote> {
    match line.borrow_mut().ask(order, None)? {
        Answer::Opened(number) => Ok(Remote { line: line.clone(), number }),
        _ => Err(io::Error::other("the process that has it mounted answered something else")),
    }
}

/// A volume that is mounted for this run alone.
pub(super) struct Mounted(Shared);

impl Mounted {
    /// Mounts what lies at a place of an overlay, as an ext4 file system; what is written goes into the overlay. `grows`: to make it
    /// larger.
    ///
    /// # Errors
    /// What the system says: no FUSE, no loop driver, not root, a file system that the kernel does not take.
    pub(super) fn start(overlay: Arc<Overlay>, place: Extent, grows: bool) -> io::Result<Self> {
        let serving = Serving::open()?;
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        // Ctrl-C is for whoever runs the job, who ends it in order.
        let launch = Launch::own().arg("composer")?.apart().die_with_parent();
        let process = launch.inherit(theirs.into()).inherit(serving.descriptor()?).spawn()?;
        let mut line = Line { process, socket, serving };
        line.answer()?;
        let served: Arc<dyn Served> = Arc::new(Bytes { overlay, place });
        line.serving.answer(&served, THREADS)?;
        line.ask(&Order::Mount { grows }, None)?;
        Ok(Self(Rc::new(RefCell::new(line))))
    }

    /// The root of the volume.
    pub(super) fn root(&self) -> Remote {
        Remote { line: self.0.clone(), number: ROOT }
    }

    /// Lets the file system grow to so many bytes, as far as that makes whole blocks.
    ///
    /// # Errors
    /// What the kernel says where it cannot.
    pub(super) fn grow(&self, len: ByteLen) -> io::Result<()> {
        done(&self.0, &Order::Grow(len.0), None)
    }

    /// Unmounts it. Everything is in the overlay then.
    ///
    /// # Errors
    /// Where not all of it could be written.
    pub(super) fn end(self) -> io::Result<()> {
        done(&self.0, &Order::End, None)
    }
}

/// A directory or a file there.
pub(super) struct Remote {
    line: Shared,
    number: u32,
}

impl Remote {
    /// A directory that stands in this one; no link is followed.
    pub(super) fn existing(&self, name: &[u8]) -> io::Result<Self> {
        opened(&self.line, &Order::Existing(self.number, name.to_vec()))
    }

    /// Removes whatever has this name, with everything in it.
    pub(super) fn clear(&self, name: &[u8]) -> io::Result<()> {
        done(&self.line, &Order::Clear(self.number, name.to_vec()), None)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // What cannot be closed is gone.
        if self.number != ROOT {
            let _ = done(&self.line, &Order::Close(self.number), None);
        }
    }
}

impl MakeIn for Remote {
    type File = Self;

    fn dir(&self, name: &[u8]) -> io::Result<Self> {
        opened(&self.line, &Order::Dir(self.number, name.to_vec()))
    }

    fn file(&self, name: &[u8]) -> io::Result<Self> {
        opened(&self.line, &Order::File(self.number, name.to_vec()))
    }

    fn symlink(&self, name: &[u8], target: &[u8], marks: &Marks) -> io::Result<()> {
        let order = Order::Symlink(self.number, name.to_vec(), target.to_vec(), marks.into());
        done(&self.line, &order, None)
    }

    fn special(&self, name: &[u8], mode: u32, device: (u32, u32), marks: &Marks) -> io::Result<()> {
        done(&self.line, &Order::Special(self.number, name.to_vec(), mode, device, marks.into()), None)
    }

    fn link(&self, path: &[Vec<u8>], dir: &Self, name: &[u8]) -> io::Result<()> {
        done(&self.line, &Order::Link(self.number, path.to_vec(), dir.number, name.to_vec()), None)
    }

    fn remove(&self, name: &[u8]) -> io::Result<()> {
        done(&self.line, &Order::Remove(self.number, name.to_vec()), None)
    }

    fn mark(&self, marks: &Marks) -> io::Result<()> {
        done(&self.line, &Order::Mark(self.number, marks.into()), None)
    }
}

impl Filled for Remote {
    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        done(&self.line, &Order::SetLen(self.number, len.0), None)
    }

    fn write_all_at(&self, at: ByteOffset, bytes: &[u8]) -> io::Result<()> {
        done(&self.line, &Order::Write(self.number, at.0), Some(bytes))
    }

    fn mark(&self, marks: &Marks) -> io::Result<()> {
        MakeIn::mark(self, marks)
    }
}
