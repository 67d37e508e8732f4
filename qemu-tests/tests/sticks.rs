//! A second stick in the rescue: it is plugged into the running machine, everything saved is copied onto it, it helps with a repair, it is pulled
//! out in the middle, plugged in again, and goes on. In the end the machine is started from it alone, and the saved states are there.

use qemu_tests::machine::{Bus, Parts, content_hash};
use qemu_tests::rescue::{self, Session, must};
use qemu_tests::{Result, small, workspace};
use serde_json::json;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a stick may take until it is a disk: a second and its drivers.
const SEEN: Duration = Duration::from_secs(15);
/// How long small work on it may take without hardware acceleration.
const WORK: Duration = Duration::from_secs(240);

fn main() -> Result<()> {
    let began = Instant::now();
    let say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("sticks")?;
    let image = rescue::image()?;
    let first = rescue::stick(&image, &folder.join("first.qcow2"))?;
    // The same image, so every id of its partitions is that of the first.
    let second = rescue::stick(&image, &folder.join("second.qcow2"))?;
    let disk = small::system(&folder, "disk")?;
    let before = content_hash(&disk)?;
    let parts = |name: &str, stick: &Path| {
        let parts = Parts::new(name, &folder).memory(rescue::MEMORY).controlled();
        parts.disk(stick, Bus::Usb, "STICK").disk(&disk, Bus::Virtio, "TARGET")
    };

    say("a state is saved; without a second stick that is said");
    let mut session = Session::start(&parts("copying", &first))?;
    session.snapshot()?;
    let screen = asked(&mut session, "7", "NOT DONE.")?;
    must(&screen, &["No second stick is here"])?;

    say("a second stick is plugged in, and all is copied onto it");
    session.machine.control()?.execute("object-add", &json!({"qom-type": "throttle-group", "id": "pace"}))?;
    plug(&mut session, &second)?;
    let screen = asked(&mut session, "7", "DONE. 1 saved state copied.")?;
    println!("{screen}");
    must(&screen, &["The second stick was let go: it can be taken out."])?;
    let screen = asked(&mut session, "7", "DONE. The other store had all of them.")?;
    must(&screen, &["1 saved state was there already"])?;

    say("it helps with a repair");
    let screen = asked(&mut session, "8", "DONE. There was nothing to put right.")?;
    println!("{screen}");

    say("it is pulled out in the middle");
    session.snapshot()?;
    pace(&mut session, 14)?;
    session.machine.console.send("\x1b")?;
    sleep(Duration::from_secs(1));
    session.press("o", &["the store", "a second stick"])?;
    session.press("7", &["at work"])?;
    sleep(Duration::from_secs(4));
    unplug(&mut session)?;
    let screen = session.machine.console.expect_screen("that it was pulled out", WORK, |s| {
        s.contains("how it ended") && s.contains("What to do next")
    })?;
    println!("{screen}");
    must(&screen, &["second stick"])?;
    if screen.contains("DONE. ") && !screen.contains("NOT DONE. ") {
        return Err(format!("a stick that was pulled out was copied to:\n{screen}").into());
    }

    say("plugged in again, it goes on");
    pace(&mut session, 0)?;
    plug(&mut session, &second)?;
    let screen = asked(&mut session, "7", "DONE. ")?;
    println!("{screen}");
    must(&screen, &["it can be taken out"])?;
    unplug(&mut session)?;
    session.poweroff()?;

    say("the machine starts from the second stick alone, and all of it is there");
    let mut session = Session::start(&parts("second", &second))?;
    println!("{}", session.press("t", &["saved states", "1 of 2"])?);
    session.press("\x1b", &["what happened"])?;
    let screen = asked(&mut session, "3", "DONE. The store is in order.")?;
    println!("{screen}");
    session.poweroff()?;
    if content_hash(&disk)? != before {
        return Err("the target's disk was changed".into());
    }
    say("done");
    Ok(())
}

/// Presses a key on the screen of the store, and waits for the end of what that does.
fn asked(session: &mut Session, key: &str, says: &str) -> Result<String> {
    session.machine.console.send("\x1b")?;
    sleep(Duration::from_secs(1));
    session.press("o", &["the store", "a second stick"])?;
    session.machine.console.send(key)?;
    session.machine.console.expect_screen(says, WORK, |s| {
        s.contains("how it ended") && s.contains(says) && s.contains("What to do next")
    })?;
    Ok(session.screen())
}

/// So many requests a second are let through to the second stick; 0: all.
fn pace(session: &mut Session, requests: u32) -> Result<()> {
    let limits = json!({"path": "/objects/pace", "property": "limits", "value": {"iops-total": requests}});
    session.machine.control()?.execute("qom-set", &limits).map(drop)
}

fn plug(session: &mut Session, stick: &Path) -> Result<()> {
    let qmp = session.machine.control()?;
    let file = json!({"driver": "qcow2", "file": {"driver": "file", "filename": stick}});
    let paced = json!({"driver": "throttle", "node-name": "second", "throttle-group": "pace", "file": file});
    qmp.execute("blockdev-add", &paced)?;
    let device = json!({"driver": "usb-storage", "id": "second", "bus": "xhci.0", "drive": "second", "serial": "SECOND",
                        "removable": true});
    qmp.execute("device_add", &device)?;
    sleep(SEEN);
    Ok(())
}

fn unplug(session: &mut Session) -> Result<()> {
    let qmp = session.machine.control()?;
    qmp.execute("device_del", &json!({"id": "second"}))?;
    // It is let go by QEMU a moment after.
    for _ in 0..40 {
        sleep(Duration::from_millis(500));
        if qmp.execute("blockdev-del", &json!({"node-name": "second"})).is_ok() {
            return Ok(());
        }
    }
    Err("QEMU does not let go of the stick".into())
}
