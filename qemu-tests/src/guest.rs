//! A Debian target that has booted: logging in on its serial line and running commands.

use crate::Result;
use crate::machine::Machine;
use std::time::Duration;

/// How long a systemd target may take to its login prompt without hardware acceleration.
pub const BOOT: Duration = Duration::from_secs(300);

/// The prompt the target's root shell is made to show.
const PROMPT: &str = "target# ";

/// Makes the prompt known. Split, so that the echo of the command is not taken for the prompt.
const QUIET: &str =
    "stty -echo; export TERM=dumb PAGER=cat LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PS1='tar''get# '\r";

/// A root shell on the serial line of a running target.
pub struct Guest {
    /// The machine.
    pub machine: Machine,
}

impl Guest {
    /// Waits for the login prompt and logs in.
    ///
    /// # Errors
    /// Where no prompt or no shell comes in time.
    pub fn login(mut machine: Machine) -> Result<Self> {
        machine.console.expect("login: ", BOOT)?;
        machine.console.send("root\r")?;
        machine.console.expect_any(&["~# ", "$ "], Duration::from_secs(120))?;
        machine.console.send(QUIET)?;
        machine.console.expect(PROMPT, Duration::from_secs(30))?;
        Ok(Self { machine })
    }

    /// Types the passphrase that an initramfs asks for before it mounts the root.
    ///
    /// # Errors
    /// Where it asks for none in time.
    pub fn unlock(machine: &mut Machine, passphrase: &str) -> Result<()> {
        machine.console.expect("Please unlock disk", BOOT)?;
        machine.console.expect(": ", Duration::from_secs(30))?;
        machine.console.send(&format!("{passphrase}\r"))
    }

    /// Takes the root shell that `systemd.debug_shell=ttyS0` starts on the serial line, without a login, early in the start.
    ///
    /// # Errors
    /// Where none comes in time.
    pub fn shell(mut machine: Machine) -> Result<Self> {
        machine.console.expect_any(&["# ", "$ "], BOOT)?;
        machine.console.send(QUIET)?;
        machine.console.expect(PROMPT, Duration::from_secs(60))?;
        Ok(Self { machine })
    }

    /// Runs a command and gives what it printed.
    ///
    /// # Errors
    /// Where it does not end in time, or ends with anything but 0.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<String> {
        self.machine.console.send(&format!("{command}; echo \"<ended $?>\"\r"))?;
        let output = self.machine.console.expect("<ended ", limit)?;
        let status = self.machine.console.expect(">", Duration::from_secs(10))?;
        self.machine.console.expect(PROMPT, Duration::from_secs(10))?;
        if status != "0" {
            return Err(format!("in the target, `{command}` ended with {status}: {}", output.trim()).into());
        }
        Ok(output)
    }

    /// Starts a command without waiting for its end.
    ///
    /// # Errors
    /// Where the machine is gone.
    pub fn start(&mut self, command: &str) -> Result<()> {
        self.machine.console.send(&format!("{command}\r"))
    }

    /// Shuts the target down in order.
    ///
    /// # Errors
    /// Where it does not switch off in time.
    pub fn poweroff(mut self) -> Result<()> {
        self.start("systemctl poweroff")?;
        self.machine.wait_off(Duration::from_secs(180))
    }
}
