//! Devices coming and going: the kernel's uevents (kernel `lib/kobject_uevent.c`) and the walk over those that came
//! before anybody listened.

use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The multicast group the kernel sends to (2 is udev's).
const KERNEL_GROUP: u32 = 1;
/// The kernel's own limit for an event's environment is 2 KiB.
const MOST_EVENT: usize = 8192;
/// Deeper than any device tree seen.
const MOST_DEPTH: usize = 32;

/// Something happened to a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `add`, `remove`, `change`, ...
    pub action: String,
    /// Where it is under /sys.
    pub path: String,
    /// `block`, `pci`, `usb`, ...
    pub subsystem: String,
    /// What a driver would match, for a device that wants one.
    pub modalias: Option<String>,
}

/// A socket on which the kernel tells of devices.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// What [`Listener::next`] brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Event),
    /// Events were lost: walk the devices again.
    Lost,
    /// Nothing waits.
    Nothing,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let kind = SockProtocol::NetlinkKObjectUEvent;
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, kind)?;
        // A burst while modules load; more is said to be lost and walked again, so a refusal does no harm.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &(1 << 20));
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(fd))
    }

    /// The next event, without waiting for one.
    ///
    /// # Errors
    /// What the system says.
    pub fn next(&self) -> io::Result<Heard> {
        use nix::errno::Errno;
        let mut buf = vec![0; MOST_EVENT];
        loop {
            match recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut buf) {
                // Only the kernel is port 0: another program's message is not an event.
                Ok((len, Some(from))) if from.pid() == 0 => {
                    if let Some(event) = Event::parse(&buf[..len.min(buf.len())]) {
                        return Ok(Heard::Event(event));
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Ok(Heard::Lost),
                Err(Errno::EAGAIN) => return Ok(Heard::Nothing),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Event {
    /// Reads a message: `action@path`, then `NAME=value`, each ended by a zero byte.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.split_terminator('\0');
        let (action, path) = parts.next()?.split_once('@')?;
        let mut event = Self { action: action.to_owned(), path: path.to_owned(), ..Self::default() };
        for (name, value) in parts.filter_map(|p| p.split_once('=')) {
            match name {
                "SUBSYSTEM" => value.clone_into(&mut event.subsystem),
                "MODALIAS" => event.modalias = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(event)
    }
}

/// The modalias of every device there is now, each once.
pub fn modaliases() -> BTreeSet<String> {
    walk(Path::new("/sys/devices"))
}

fn walk(root: &Path) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut stack: Vec<(PathBuf, usize)> = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = stack.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            // The type of the entry itself: symbolic links, which make circles in sysfs, are not followed.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MOST_DEPTH => stack.push((entry.path(), depth + 1)),
                Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                    out.extend(crate::sysfs::attribute(&entry.path()));
                }
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let message = b"add@/devices/pci0/0000:00:04.0/virtio1\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=virtio\0MODALIAS=virtio:d2v3\0SEQNUM=1\0";
        let e = Event::parse(message).unwrap();
        assert_eq!((e.action.as_str(), e.subsystem.as_str()), ("add", "virtio"));
        assert_eq!(e.path, "/devices/pci0/0000:00:04.0/virtio1");
        assert_eq!(e.modalias.as_deref(), Some("virtio:d2v3"));
        assert_eq!(Event::parse(b"libudev\0\xfe\xed"), None);
        assert_eq!(Event::parse(b""), None);
    }

    #[test]
    fn the_walk_finds_each_modalias_once_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
            std::fs::write(dir.path().join(path).join("modalias"), text).unwrap();
        };
        make("a/b", "pci:v1\n");
        make("a/c", "pci:v1\n");
        make("d", "usb:v2\n");
        make("e", "\n");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(walk(dir.path()).into_iter().collect::<Vec<_>>(), ["pci:v1", "usb:v2"]);
    }

    #[test]
    fn a_listener_with_nothing_to_hear_says_so_at_once() {
        let listener = Listener::new().unwrap();
        assert!(matches!(listener.next().unwrap(), Heard::Nothing | Heard::Event(_)));
    }
}
