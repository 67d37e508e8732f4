//! What happens to a target: histories that the rescue must be able to tell afterwards.

use crate::Result;
use crate::guest::Guest;
use crate::machine::Parts;
use std::time::Duration;

/// How long package operations may take without hardware acceleration.
const PACKAGES: Duration = Duration::from_secs(400);

/// Starts the target for the first time and shuts it down in order.
///
/// # Errors
/// Where it does not come up or does not switch off.
pub fn first_start(machine: &Parts) -> Result<()> {
    Guest::login(machine.start()?)?.poweroff()
}

/// Starts the target, installs a real package, and shuts it down in order.
///
/// # Errors
/// Where any of it fails.
pub fn install_package(machine: &Parts) -> Result<()> {
    let mut guest = Guest::login(machine.start()?)?;
    guest.run("apt-get -q -y install /opt/packages/install/*.deb", PACKAGES)?;
    let said = guest.run("hello", Duration::from_secs(30))?;
    if !said.contains("Hello, world!") {
        return Err(format!("the installed package does not work: {said}").into());
    }
    guest.poweroff()
}

/// Starts the target, begins its upgrade and cuts the power in the middle of unpacking. Gives the line at which it was cut.
///
/// # Errors
/// Where the upgrade never gets there.
pub fn cut_upgrade(machine: &Parts) -> Result<String> {
    let mut guest = Guest::login(machine.start()?)?;
    guest.start("apt-get -q -y --allow-downgrades --reinstall install /opt/packages/upgrade/*.deb")?;
    for _ in 0..3 {
        guest.machine.console.expect("Unpacking ", PACKAGES)?;
    }
    let line = guest.machine.console.expect("\n", Duration::from_secs(30))?;
    // The fourth package is being taken apart; the third's state has been written.
    guest.machine.console.expect("Preparing to unpack ", PACKAGES)?;
    guest.machine.console.expect("Unpacking ", PACKAGES)?;
    guest.machine.cut_power();
    Ok(format!("Unpacking {}", line.trim()))
}

/// Starts the target and removes its C library, then cuts the power a while after it was written out: nothing that is
/// not running already can start any more.
///
/// # Errors
/// Where the target does not come up.
pub fn remove_libc(machine: &Parts) -> Result<()> {
    let mut guest = Guest::login(machine.start()?)?;
    guest.run("sync; rm /usr/lib/x86_64-linux-gnu/libc.so.6; echo s >/proc/sysrq-trigger", Duration::from_secs(60))?;
    // The kernel says when the emergency sync is done; it has no line on a quiet console, so give it time.
    std::thread::sleep(Duration::from_secs(5));
    guest.machine.cut_power();
    Ok(())
}

/// Starts the target and checks that it is whole: it reaches login, its package database is in order, and what was
/// installed works.
///
/// # Errors
/// Where it does not, with what it said.
pub fn is_whole(machine: &Parts) -> Result<()> {
    let mut guest = Guest::login(machine.start()?)?;
    let audit = guest.run("dpkg --audit", Duration::from_secs(120))?;
    if !audit.trim().is_empty() {
        return Err(format!("dpkg --audit is not content: {audit}").into());
    }
    guest.run(
        "dpkg --verify hello && hello >/dev/null && ls /var/lib/dpkg/updates | (! grep .)",
        Duration::from_secs(120),
    )?;
    guest.poweroff()
}

/// Switches the machine on and makes sure that what stands where its boot loader was says why it does not start.
///
/// # Errors
/// Where a kernel starts, or nothing is said in time.
pub fn says_unfinished(machine: &Parts) -> Result<()> {
    let mut machine = machine.start()?;
    match machine.console.expect_any(&["a rollback is not finished", "Linux version"], Duration::from_secs(60)) {
        Ok((0, _)) => Ok(()),
        Ok(_) => Err("a kernel started from a fenced disk".into()),
        Err(e) => Err(format!("the fence did not speak: {e}").into()),
    }
}

/// Starts the target and makes sure that it does not reach its login prompt.
///
/// # Errors
/// Where it does.
pub fn does_not_start(machine: &Parts) -> Result<()> {
    let mut machine = machine.start()?;
    match machine.console.expect_any(&["Kernel panic", "login: "], Duration::from_secs(240)) {
        Ok((0, _)) => Ok(()),
        Ok(_) => Err("it started, though it must not".into()),
        Err(e) => Err(format!("it neither started nor gave up: {e}").into()),
    }
}
