//! A second stick of the rescue: found by its table, mounted for as long as the engine wants it, and let go.
//!
//! Only what our own image layout names is mounted: the one partition of the store's type on a disk that can be taken out, as ext4, as our
//! own store is. It is done on a thread of its own: a stick that does not answer holds up nothing else.

use crate::mounts;
use crate::report::Report;
use crate::store::{self, Disk, Place};
use crate::store_partition;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use sys::block;
use sys::sysfs::{self, BlockDir};

/// Where its file system is mounted.
pub(crate) const MOUNT_POINT: &str = "/second";

/// What the engine wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Mount it.
    Attach,
    /// Unmount it.
    Detach,
}

/// The thread that does it.
#[derive(Debug)]
pub(crate) struct Helper {
    wishes: Sender<Wish>,
    answers: Receiver<String>,
}

impl Helper {
    /// Starts it. It ends when it is dropped, once it has done what it was told.
    pub(crate) fn start() -> Self {
        let (wishes, wanted) = channel();
        let (answered, answers) = channel();
        std::thread::spawn(move || {
            // The kernel name of what is mounted.
            let mut mounted = None;
            for wish in wanted {
                let answer = match wish {
                    Wish::Attach => attach(&mut mounted).map(|()| format!("{{\"attached\":\"{MOUNT_POINT}\"}}")),
                    Wish::Detach => detach(&mut mounted).map(|()| "\"detached\"".to_owned()),
                };
                let answer = answer.unwrap_or_else(|e| format!("{{\"failed\":\"{}\"}}", tame(&e.to_string())));
                if answered.send(format!("{{\"stick\":{answer}}}")).is_err() {
                    break;
                }
            }
        });
        Self { wishes, answers }
    }

    pub(crate) fn wish(&self, wish: Wish) {
        // A thread that panicked answers nothing: the engine says so after a while.
        let _ = self.wishes.send(wish);
    }

    /// The next message for the engine, where there is one.
    pub(crate) fn answer(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }
}

/// What may stand in a text of JSON as it is.
fn tame(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    text.chars().map(|c| if plain(c) { c } else { ' ' }).take(1000).collect()
}

/// The sticks that are there, besides the one our store lies on. What else looks so, on a disk that cannot be taken out, is the machine's.
pub(crate) fn sticks() -> Vec<BlockDir> {
    let own = sysfs::disk_holding(Path::new(store::MOUNT_POINT));
    let other = |d: &BlockDir| d.is_real_disk() && own.as_ref().is_none_or(|own| own.name() != d.name());
    sysfs::disks().into_iter().filter(other).filter(|d| can_be_taken_out(d) && guid(d).is_some()).collect()
}

fn can_be_taken_out(d: &BlockDir) -> bool {
    let h = d.hardware(d.size(), model::units::SectorSize::B512);
    h.removable || matches!(h.transport.as_str(), "usb" | "mmc")
}

fn guid(d: &BlockDir) -> Option<String> {
    let disk = Disk::open(d, false).ok()?;
    store_partition::guid_of_store(&disk, disk.sector).ok()?
}

fn attach(mounted: &mut Option<String>) -> io::Result<()> {
    // Of an engine that died over it.
    detach(mounted)?;
    let mut sticks = sticks();
    let (stick, others) = (sticks.pop(), sticks.len());
    let Some(stick) = stick else {
        return Err(io::Error::other(
            "no second stick is here: plug one in on which a rescue image was put, wait a few seconds, and do it again",
        ));
    };
    if others > 0 {
        let names: Vec<String> = sticks.iter().chain([&stick]).map(BlockDir::name).collect();
        let says = format!("there are several other sticks ({}): leave one of them in", names.join(", "));
        return Err(io::Error::other(says));
    }
    let name = stick.name();
    if block::is_read_only(&Disk::open(&stick, false)?.file)? {
        return Err(io::Error::other(format!("the second stick ({name}) is write-protected: look for a switch on it")));
    }
    let guid = guid(&stick).ok_or_else(|| io::Error::other("the second stick cannot be read any more"))?;
    let place: Place = store::on(stick, &guid).ok_or_else(|| io::Error::other("its partition is gone"))?;
    // Consoles belong to programs now: what is worth knowing is in the answer.
    let mut quiet = Report::new();
    quiet.aloud = false;
    store::mount_on(&place, &guid, MOUNT_POINT, &mut quiet)
        .map_err(|e| io::Error::other(format!("the second stick ({name}): {e}")))?;
    *mounted = Some(name);
    Ok(())
}

fn detach(mounted: &mut Option<String>) -> io::Result<()> {
    let name = mounted.take();
    let let_go = store::let_go(MOUNT_POINT);
    if let Some(name) = name.filter(|name| BlockDir::of_disk(name).is_none()) {
        return Err(io::Error::other(format!("the second stick ({name}) was pulled out before it was let go")));
    }
    let_go.map_err(|e| io::Error::other(format!("the second stick cannot be let go: {e}")))?;
    if mounts::is_mounted(MOUNT_POINT) {
        return Err(io::Error::other("the second stick is still in use; it was made read-only"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_safe_within_a_message() {
        assert_eq!(tame("a \"b\\c\"\n\u{e9}"), "a  b c   ");
    }

    /// Nothing is mounted where nobody asked, and what is not mounted is let go without a word.
    #[test]
    fn what_is_not_mounted_is_let_go() {
        let helper = Helper::start();
        helper.wish(Wish::Detach);
        let answer = helper.answers.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(answer, "{\"stick\":\"detached\"}");
    }
}
