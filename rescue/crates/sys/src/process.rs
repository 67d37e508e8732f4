//! Starting programs, above all our own in another role, with descriptors at fixed numbers; and passing descriptors to
//! a process that runs already.
#![expect(unsafe_code, reason = "fork, exec and descriptors by number")]

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Number of the first inherited descriptor, after stdin, stdout and stderr.
pub const FIRST_INHERITED: RawFd = 3;

/// The user and the group that own nothing (`overflowuid`, `overflowgid`).
const NOBODY: u32 = 65534;

/// A program about to be started. It gets the descriptors named here and no others.
#[derive(Debug)]
pub struct Launch {
    program: CString,
    args: Vec<CString>,
    env: Option<Vec<CString>>,
    stdio: [Option<OwnedFd>; 3],
    inherit: Vec<OwnedFd>,
    terminal: bool,
    die_with_parent: bool,
    apart: bool,
    nobody: bool,
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an argument has a zero byte"))
}

impl Launch {
    /// Our own executable, whatever it is called and even if it was replaced meanwhile, in the role `args` names.
    pub fn own() -> Self {
        Self::program(Path::new("/proc/self/exe")).expect("a constant without zero bytes")
    }

    /// A program by its path.
    ///
    /// # Errors
    /// Where the path has a zero byte.
    pub fn program(path: &Path) -> io::Result<Self> {
        let program = c_string(path.as_os_str())?;
        let arg0 = program.clone();
        let none = || None;
        Ok(Self {
            program,
            args: vec![arg0],
            env: None,
            stdio: [none(), none(), none()],
            inherit: Vec::new(),
            terminal: false,
            die_with_parent: false,
            apart: false,
            nobody: false,
        })
    }

    /// Adds an argument.
    ///
    /// # Errors
    /// Where it has a zero byte.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> io::Result<Self> {
        self.args.push(c_string(arg.as_ref())?);
        Ok(self)
    }

    /// Replaces the environment by these variables (`NAME=value`). Without this call, ours is inherited.
    ///
    /// # Errors
    /// Where one has a zero byte.
    pub fn environment(mut self, variables: &[&str]) -> io::Result<Self> {
        self.env = Some(variables.iter().map(|v| c_string(OsStr::new(v))).collect::<io::Result<_>>()?);
        Ok(self)
    }

    /// Gives it a descriptor; the first becomes number 3, the next 4, and so on.
    pub fn inherit(mut self, fd: OwnedFd) -> Self {
        self.inherit.push(fd);
        self
    }

    /// Its stdin, stdout or stderr (0, 1, 2). Those not given are ours.
    pub fn stdio(mut self, number: usize, fd: OwnedFd) -> Self {
        if let Some(slot) = self.stdio.get_mut(number) {
            *slot = Some(fd);
        }
        self
    }

    /// Stdin, stdout and stderr are this terminal, which becomes the controlling one of a new session.
    ///
    /// # Errors
    /// What the system says where no more descriptors can be had.
    pub fn on_terminal(mut self, tty: OwnedFd) -> io::Result<Self> {
        self.stdio = [Some(tty.try_clone()?), Some(tty.try_clone()?), Some(tty)];
        self.terminal = true;
        Ok(self)
    }

    /// Let the kernel kill it when the thread that starts it ends (`PR_SET_PDEATHSIG`: the thread, not the process).
    pub fn die_with_parent(mut self) -> Self {
        self.die_with_parent = true;
        self
    }

    /// Puts it into a process group of its own: what a terminal sends to ours, Ctrl-C above all, is not for it.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Where this process is root's, gives up root before the program begins: it is that of the user and group that own nothing
    /// (`nobody`, 65534 on Linux), in no other group.
    pub fn as_nobody(mut self) -> Self {
        self.nobody = nix::unistd::geteuid().is_root();
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the system says of the fork or of the exec (no such program, not executable).
    pub fn spawn(self) -> io::Result<Child> {
        let count = RawFd::try_from(self.inherit.len()).map_err(io::Error::other)?;
        let first_free = FIRST_INHERITED + count;
        // Every source is moved above all targets first, so that no dup2 in the child overwrites one still needed.
        let high = |fd: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            // SAFETY: duplicates a borrowed descriptor; the new one is owned by nobody else.
            let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, first_free) };
            // SAFETY: checked to be a fresh descriptor.
            if new < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(new) }) }
        };
        let mut moves: Vec<(OwnedFd, RawFd)> = Vec::with_capacity(self.inherit.len() + 3);
        for (target, fd) in (0..).zip(&self.stdio) {
            if let Some(fd) = fd {
                moves.push((high(fd.as_fd())?, target));
            }
        }
        for (target, fd) in (FIRST_INHERITED..).zip(&self.inherit) {
            moves.push((high(fd.as_fd())?, target));
        }
        let (failure, child_end) = io::pipe()?;
        // The low original is dropped by this: while it is open, the end of the pipe would never come.
        let child_end = { high(OwnedFd::from(child_end).as_fd())? };
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let args = pointers(&self.args);
        let env = self.env.as_deref().map(pointers);
        let environ = {
            unsafe extern "C" {
                static environ: *const *const libc::c_char;
            }
            // SAFETY: read once; nobody changes the environment while children are started (`set_var` is unsafe for that
            // reason and is used only by the sandbox, in a process with one thread).
            env.as_ref().map_or_else(|| unsafe { environ }, |e| e.as_ptr())
        };
        let order = Orders {
            program: self.program.as_ptr(),
            args: args.as_ptr(),
            environ,
            moves: &moves,
            first_free,
            terminal: self.terminal,
            die_with_parent: self.die_with_parent,
            apart: self.apart,
            nobody: self.nobody,
            parent: std::process::id(),
            failure: child_end.as_raw_fd(),
        };
        // SAFETY: the child calls async-signal-safe functions only (see `become_program`) and never returns.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: in the child, with pointers made above that the fork copied.
            0 => unsafe { become_program(&order) },
            pid => pid,
        };
        drop((child_end, moves));
        let child = Child { pid: Pid::from_raw(pid), handle: pid_handle(pid).ok(), ended: None };
        let mut errno = [0; 4];
        // The pipe closes without a word where the exec succeeded.
        match File::from(OwnedFd::from(failure)).read_exact(&mut errno) {
            Ok(()) => {
                let mut child = child;
                let _ = child.wait();
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
            }
            Err(_) => Ok(child),
        }
    }
}

/// All the child needs between fork and exec, made ready before the fork.
struct Orders<'a> {
    program: *const libc::c_char,
    args: *const *const libc::c_char,
    environ: *const *const libc::c_char,
    moves: &'a [(OwnedFd, RawFd)],
    first_free: RawFd,
    terminal: bool,
    die_with_parent: bool,
    apart: bool,
    nobody: bool,
    parent: u32,
    failure: RawFd,
}

/// Turns the forked child into the program.
///
/// # Safety
/// Only in a child just forked. Everything called here is async-signal-safe (signal-safety(7)) or a plain system call:
/// no allocation, no lock, for another thread may have held it at the fork.
unsafe fn become_program(order: &Orders<'_>) -> ! {
    // SAFETY: see above; all pointers point into memory the fork copied, descriptors are this process's own.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        let mut ok = true;
        if order.terminal {
            ok &= libc::setsid() >= 0;
        }
        if order.apart {
            ok &= libc::setpgid(0, 0) == 0;
        }
        for (from, to) in order.moves {
            ok &= libc::dup2(from.as_raw_fd(), *to) >= 0;
        }
        if order.terminal {
            // Fails where the terminal belongs to a session that will not give it up (1: take it anyway, as root).
            libc::ioctl(0, libc::TIOCSCTTY, 1);
        }
        // Everything of Rust's is close-on-exec already; this is for what others may have left. Linux 5.11.
        let first = libc::c_uint::try_from(order.first_free).unwrap_or(3);
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if order.nobody {
            ok &= libc::setgroups(0, std::ptr::null()) == 0;
            ok &= libc::setresgid(NOBODY, NOBODY, NOBODY) == 0;
            ok &= libc::setresuid(NOBODY, NOBODY, NOBODY) == 0;
        }
        // After that: a change of users takes it back (kernel/cred.c, `commit_creds`).
        if order.die_with_parent {
            ok &= libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0;
            if u32::try_from(libc::getppid()).unwrap_or(0) != order.parent {
                libc::_exit(127);
            }
        }
        if ok {
            libc::execve(order.program, order.args, order.environ);
        }
        let errno = (*libc::__errno_location()).to_ne_bytes();
        libc::write(order.failure, errno.as_ptr().cast(), errno.len());
        libc::_exit(127);
    }
}

fn pid_handle(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: a system call with two numbers; the descriptor it gives is owned by nobody else.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: as above, checked.
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
}

/// A process that was started. Dropping it neither ends nor awaits it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    handle: Option<OwnedFd>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Its process id.
    pub fn id(&self) -> u32 {
        u32::try_from(self.pid.as_raw()).unwrap_or(0)
    }

    /// A descriptor that becomes readable when it ends (pidfd, Linux 5.3); `None` on older kernels.
    pub fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.handle.as_ref().map(AsFd::as_fd)
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// What the system says; a process that has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// As [`Child::kill`].
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Tells it of Ctrl-Alt-Del, as the kernel told us (SIGINT).
    ///
    /// # Errors
    /// As [`Child::kill`].
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(Signal::SIGINT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        match nix::sys::signal::kill(self.pid, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// How it ended, once it has; does not wait.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.collect(Some(WaitPidFlag::WNOHANG))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.collect(None)? {
                return Ok(status);
            }
        }
    }

    /// Waits for its end, at most so long.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_for(&mut self, most: Duration) -> io::Result<Option<ExitStatus>> {
        let until = std::time::Instant::now() + most;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match &self.handle {
                Some(handle) => {
                    crate::poll(&[handle.as_fd()], Some(left))?;
                }
                None => std::thread::sleep(left.min(Duration::from_millis(10))),
            }
        }
    }

    fn collect(&mut self, flags: Option<WaitPidFlag>) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let mut status = 0;
        let options = flags.unwrap_or(WaitPidFlag::empty()).bits();
        // SAFETY: writes one int to a live local. (nix's waitpid loses core-dump and exact status.)
        match unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, options) } {
            0 => Ok(None),
            -1 => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(None),
                e => Err(e),
            },
            _ => {
                self.ended = Some(ExitStatus::from_raw(status));
                Ok(self.ended)
            }
        }
    }
}

/// How a process ended, in words: `exited with code 1`, `was stopped by the sandbox (SIGSYS)`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(libc::SIGSYS)) => "was stopped by the sandbox for a forbidden system call (SIGSYS)".to_owned(),
        (None, Some(libc::SIGXCPU)) => "used up its processor time (SIGXCPU)".to_owned(),
        (None, Some(libc::SIGABRT)) => "gave up (SIGABRT: out of memory, or a panic that could not unwind)".to_owned(),
        (None, Some(n)) => match Signal::try_from(n) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {n}"),
        },
        (None, None) => format!("ended with status {:#x}", status.into_raw()),
    }
}

/// Collects one ended child of this process, whoever started it: what PID 1 does for orphans. `None` where none has
/// ended. Not for a process that also waits for its own [`Child`]ren.
pub fn reap() -> Option<(u32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: writes one int to a live local.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    u32::try_from(pid).ok().filter(|p| *p > 0).map(|p| (p, ExitStatus::from_raw(status)))
}

/// Sends a signal to every process but this one and PID 1 (kill(2), pid -1): the end of a session. Only for PID 1 and
/// the set-up child of the rescue.
///
/// # Errors
/// What the system says; nobody being there is no error.
pub fn signal_everyone(signal: Ending) -> io::Result<()> {
    let signal = match signal {
        Ending::Ask => Signal::SIGTERM,
        Ending::Kill => Signal::SIGKILL,
    };
    match nix::sys::signal::kill(Pid::from_raw(-1), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// How processes are told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM.
    Ask,
    /// SIGKILL.
    Kill,
}

/// Takes an inherited descriptor by its number, once: the other end of [`Launch::inherit`].
///
/// # Errors
/// Where the number is below 3, was taken already, or is not open.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let bad = |what: &str| Err(io::Error::other(format!("descriptor {number} {what}")));
    if number < FIRST_INHERITED {
        return bad("is one of stdin, stdout and stderr");
    }
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&number) {
        return bad("was taken already");
    }
    // SAFETY: fcntl on a number: fails for one that is not open. That it was inherited, so that nothing else in this
    // process owns it, shows in that it is not close-on-exec: all that Rust opens is.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return bad("was not inherited; start this role through its parent");
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return bad("is not an inherited one");
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    taken.insert(number);
    // SAFETY: open, inherited, and handed out once only.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// One end of a pair of sockets that carries small messages whole and in order, each with a descriptor if wanted
/// (`SOCK_SEQPACKET`): the control socket between PID 1 and the engine.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// The most a message may carry.
pub const MOST_MESSAGE: usize = 4096;

/// What came through a [`Channel`].
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub bytes: Vec<u8>,
    /// The descriptor that came with it.
    pub fd: Option<OwnedFd>,
}

impl Channel {
    /// Two ends joined to each other.
    ///
    /// # Errors
    /// What the system says.
    pub fn pair() -> io::Result<(Self, Self)> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message, with a copy of a descriptor. Never waits: a partner that does not read costs an error, not a hang.
    ///
    /// # Errors
    /// What the system says (the other end is gone, or does not read), or a message that is empty or above [`MOST_MESSAGE`].
    pub fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        if bytes.is_empty() || bytes.len() > MOST_MESSAGE {
            return Err(io::Error::other(format!("a message of {} bytes, not 1 to {MOST_MESSAGE}", bytes.len())));
        }
        let fds = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
        let parts = [IoSlice::new(bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &parts, rights.as_slice(), flags, None) {
                Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Waits for the next message; `None` where the other end is closed.
    ///
    /// # Errors
    /// What the system says, or a message that was cut off for its size.
    pub fn receive(&self) -> io::Result<Option<Received>> {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
        let mut bytes = vec![0; MOST_MESSAGE];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let got = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for message in got.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                // SAFETY: the kernel has just made these descriptors for this process. All are owned, so that those
                // nobody asked for are closed.
                fds.extend(numbers.into_iter().map(|n| unsafe { OwnedFd::from_raw_fd(n) }));
            }
        }
        if got.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(io::Error::other(format!(
                "a message above {MOST_MESSAGE} bytes, or with too many descriptors"
            )));
        }
        let len = got.bytes;
        if len == 0 {
            return Ok(None);
        }
        bytes.truncate(len);
        Ok(Some(Received { bytes, fd: fds.into_iter().next() }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(c: Channel) -> Self {
        c.0
    }
}
