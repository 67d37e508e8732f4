//! `cargo demo`: a stranger watches a broken Debian come back to life, in the terminal they sit at.

use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::{Result, history, rescue, target, workspace};
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Builds what is missing, then hands the terminal to the rescue.
pub(crate) fn run(fresh: bool) -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>3} s] {text}", began.elapsed().as_secs());
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("the demo wants a terminal to show the rescue in; start it from one".into());
    }
    image_builder::host::require(target::HOST_PACKAGES)?;
    say("building the rescue image");
    let image = rescue::image()?;
    let folder = workspace::cache()?.join("demo");
    if fresh && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let (stick, disk) = (folder.join("stick.qcow2"), folder.join("disk.qcow2"));
    prepare(&folder, &image, &mut say)?;

    // The machine of this very run: what the person does to it is theirs, and the next run starts afresh.
    let run = workspace::scratch("demo")?;
    let stick = overlay(&stick, &run.join("stick.qcow2"))?;
    let disk = overlay(&disk, &run.join("disk.qcow2"))?;
    println!(
        "\nThis Debian was being upgraded when its power was cut: packages are half installed.\n\
         The rescue starts on it now, from a USB stick, in this terminal: it says what happened, and\n\
         key 1 goes back. Ctrl-C is the rescue's; its power menu (key p) leads out. Press Enter."
    );
    wait_for_enter()?;
    let rescue = Parts::new("rescue", &run).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK").disk(
        &disk,
        Bus::Virtio,
        "TARGET",
    );
    hand_over(&rescue)?;

    print!("\nStart the Debian now, to its login prompt (user root, no password)? [Y/n] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("n") {
        return Ok(());
    }
    println!("It starts; `poweroff` ends it.");
    hand_over(&Parts::new("target", &run).disk(&disk, Bus::Virtio, "TARGET"))
}

/// The broken machine and the stick that knows its good state, made once.
fn prepare(folder: &Path, image: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let done = folder.join("done");
    let base = target::debian(say)?;
    let made_of = format!("{}\n{}\n", rescue::fingerprint(image)?, target::recipe()?);
    if fs::read_to_string(&done).is_ok_and(|s| s == made_of) {
        say("the broken machine of the last run is still good");
        return Ok(());
    }
    for name in ["stick.qcow2", "disk.qcow2", "done"] {
        let _ = fs::remove_file(folder.join(name));
    }
    let stick = rescue::stick(image, &folder.join("stick.qcow2"))?;
    let disk = overlay(&base, &folder.join("disk.qcow2"))?;
    let machine = Parts::new("prepare", folder);
    say("starting the Debian for the first time, and shutting it down in order");
    history::first_start(&machine.clone().disk(&disk, Bus::Virtio, "TARGET"))?;
    say("the rescue looks at it and saves a snapshot");
    let rescue =
        machine.clone().memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK").disk(&disk, Bus::Virtio, "TARGET");
    let mut session = rescue::Session::start(&rescue)?;
    session.snapshot()?;
    session.poweroff()?;
    say("the Debian upgrades itself, and in the middle of it the power is cut");
    let cut = history::cut_upgrade(&machine.clone().disk(&disk, Bus::Virtio, "TARGET"))?;
    say(&format!("the power was cut at: {cut}"));
    fs::write(done, made_of)?;
    Ok(())
}

/// Runs a machine whose serial line is this terminal.
fn hand_over(parts: &Parts) -> Result<()> {
    let mut q = parts.command()?;
    q.args(["-display", "none", "-chardev", "stdio,id=here,signal=off", "-serial", "chardev:here"]);
    let status = q.stdin(Stdio::inherit()).stdout(Stdio::inherit()).status()?;
    // Whatever the guest left the terminal in: attributes off, cursor shown, ordinary screen.
    print!("\x1b[0m\x1b[?25h\x1b[?1049l\r\n");
    if status.success() { Ok(()) } else { Err(format!("QEMU ended with {status}").into()) }
}

fn wait_for_enter() -> Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(())
}
