//! Our own executable in other roles: inherited descriptors, passed descriptors, and a sandbox that holds.
//!
//! Run without a role this is the test; it starts itself in the roles below. Each forbidden deed is tried by a process of
//! its own, which writes `done` to its socket if it was let through.

#![expect(clippy::unwrap_used, reason = "a test, in all its roles")]

use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, exit};
use std::time::{Duration, Instant};
use sys::device::DiskBytes;
use sys::process::{Channel, Launch, take_inherited};
use sys::sandbox::{Limits, enter};

const SIGSYS: i32 = 31;
const LIMITS: Limits = Limits { memory: ByteLen(256 << 20), cpu_seconds: 1 };

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("role") => role(&args[2]),
        // What a test runner asks of a test program.
        Some("--list") => println!("roles: test"),
        _ => test(),
    }
}

/// What a child does. It ends with code 0 where it did what it wanted.
fn role(name: &str) {
    let mut socket = UnixStream::from(take_inherited(3).unwrap());
    match name {
        "talk" => return talk(socket),
        "descriptors" => return descriptors(socket),
        "threads" => {
            let (_stay, wait) = std::sync::mpsc::channel::<()>();
            std::thread::spawn(move || wait.recv());
            let refused = enter(LIMITS).is_err();
            exit(if refused { 0 } else { 9 });
        }
        _ => {}
    }
    let disk = DiskBytes::from_descriptor(take_inherited(4).unwrap()).unwrap();
    enter(LIMITS).unwrap();
    deed(name, &disk, &mut socket);
    let _ = socket.write_all(b"done");
    exit(0);
}

#[allow(unsafe_code, reason = "the deeds of a process that was taken over")]
fn deed(name: &str, disk: &DiskBytes, socket: &mut UnixStream) {
    match name {
        "parse" => {
            // All a parser does: read the disk by position, allocate, hash maps (random keys), clocks, panic and catch it.
            let bytes = disk.read_vec(ByteOffset(3), 4).unwrap();
            assert_eq!(bytes, b"defg");
            let mut big = vec![1u8; 100 << 20];
            big.extend_from_within(..);
            drop(big);
            let map: std::collections::HashMap<u32, Vec<u8>> = (0..10_000).map(|i| (i, vec![0; 100])).collect();
            assert_eq!(map.len(), 10_000);
            let _ = (Instant::now(), std::time::SystemTime::now());
            let caught = std::panic::catch_unwind(|| panic!("a panic in the parser is caught (this line is expected)"));
            assert!(caught.is_err());
            let mut asked = [0; 3];
            socket.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"ask");
        }
        "open" => {
            let _ = std::fs::File::open("/etc/hostname");
        }
        "create" => {
            let _ = std::fs::write("/tmp/sys-roles-escaped", b"x");
        }
        "socket" => {
            let _ = std::net::UdpSocket::bind("127.0.0.1:0");
        }
        "connect" => {
            let _ = UnixStream::connect("/run/nothing");
        }
        "exec" => {
            let _ = std::process::Command::new("/bin/true").status();
        }
        "fork" => {
            // SAFETY: forbidden here; were it let through, both sides end with code 0.
            unsafe { libc::fork() };
        }
        "thread" => {
            let _ = std::thread::Builder::new().spawn(|| ());
        }
        "signal" => {
            // SAFETY: signal 0 to PID 1 harms nobody.
            unsafe { libc::kill(1, 0) };
        }
        "signal-other" => {
            // SAFETY: signal 0 to PID 1 harms nobody.
            unsafe { libc::syscall(libc::SYS_tgkill, 1, 1, 0) };
        }
        "ioctl" => {
            // SAFETY: on a descriptor of this process's own; BLKROGET writes no more than an int.
            unsafe { libc::ioctl(4, 0x125e, &mut 0) };
        }
        "pwrite" => {
            // SAFETY: a live buffer.
            unsafe { libc::pwrite(3, b"x".as_ptr().cast(), 1, 0) };
        }
        "map-file" => {
            // SAFETY: maps anew, nothing is replaced.
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE, 4, 0) };
        }
        "map-code" => {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: maps anew, nothing is replaced.
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_EXEC, flags, -1, 0) };
        }
        "make-code" => {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: changes only the page just mapped.
            unsafe {
                let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
                libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC);
            }
        }
        "foreign-arch" => {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: system call 20 of the 32-bit table is getpid.
            unsafe {
                std::arch::asm!("int 0x80", inout("eax") 20 => _);
            }
        }
        "x32" => {
            // SAFETY: getpid of the x32 table.
            unsafe { libc::syscall(0x4000_0000 + libc::SYS_getpid) };
        }
        "send-elsewhere" => {
            let address = [0u8; 16];
            // SAFETY: live buffers.
            unsafe { libc::sendto(3, b"x".as_ptr().cast(), 1, 0, address.as_ptr().cast(), 16) };
        }
        "undo" => {
            let none = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: a live struct.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
        }
        "allocate" => {
            let block = vec![1u8; 2 << 30];
            assert!(block[block.len() / 2] == 1);
        }
        "overflow" => {
            let mut deep = 0u64;
            dive(&mut deep);
        }
        "spin" => {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {}
        }
        _ => exit(8),
    }
}

#[expect(unconditional_recursion, reason = "a parser that recurses without end")]
fn dive(deep: &mut u64) {
    let page = [*deep; 512];
    *deep = std::hint::black_box(page)[7].wrapping_add(1);
    dive(deep);
    std::hint::black_box(&page);
}

/// Reads a line's worth and sends it back: plain inheritance, with everything but 0 to 4 closed.
fn talk(mut socket: UnixStream) {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    assert!(take_inherited(3).is_err(), "taken twice");
    assert!(take_inherited(1).is_err());
    assert!(take_inherited(77).is_err(), "never open");
    // 5 is the directory being read here.
    assert!(open.iter().all(|n| *n <= 5), "{open:?}");
    let mut second = std::fs::File::from(take_inherited(4).unwrap());
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    exit(0);
}

/// Gets a descriptor over a channel and writes to what it stands for.
fn descriptors(socket: UnixStream) {
    let channel = Channel::from(OwnedFd::from(socket));
    let got = channel.receive().unwrap().unwrap();
    assert_eq!(got.bytes, br#"{"attach":"ttyS0"}"#);
    let mut stream = UnixStream::from(got.fd.unwrap());
    stream.write_all(b"hello").unwrap();
    let plain = channel.receive().unwrap().unwrap();
    assert!(plain.fd.is_none());
    assert_eq!(plain.bytes, b"bye");
    assert!(channel.receive().unwrap().is_none(), "closed at the other end");
    exit(0);
}

fn disk() -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"abcdefghij").unwrap();
    file.into()
}

/// Starts a role; gives how it ended, what it sent and what it said on stderr.
fn run(name: &str, send: &[u8]) -> (ExitStatus, Vec<u8>, String) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (mut said, stderr) = std::io::pipe().unwrap();
    let launch = Launch::own().arg("role").unwrap().arg(name).unwrap().stdio(2, stderr.into());
    let mut child = launch.inherit(theirs.into()).inherit(disk()).spawn().unwrap();
    ours.write_all(send).unwrap();
    let (mut sent, mut text) = (Vec::new(), String::new());
    let _ = ours.read_to_end(&mut sent);
    said.read_to_string(&mut text).unwrap();
    let status = child.wait_for(Duration::from_secs(30)).unwrap().expect("ended");
    (status, sent, text)
}

fn test() {
    let (status, sent, text) = run("talk", b"");
    assert!(status.success(), "{text}");
    assert_eq!(sent, b"", "the position of the shared file was at its end");
    passing();
    launching();
    let (status, _, text) = run("threads", b"");
    assert!(status.success(), "a process with threads is refused: {text}");

    let (status, sent, text) = run("parse", b"ask");
    assert!(status.success() && sent == b"done", "{status:?} {text}");

    let forbidden = [
        "open",
        "create",
        "socket",
        "connect",
        "exec",
        "fork",
        "thread",
        "signal",
        "signal-other",
        "ioctl",
        "pwrite",
        "map-file",
        "map-code",
        "make-code",
        "send-elsewhere",
        "undo",
    ];
    for name in forbidden {
        let (status, sent, text) = run(name, b"");
        assert_eq!(status.signal(), Some(SIGSYS), "{name}: {status:?} {text}");
        assert!(sent.is_empty(), "{name} went on");
        // glibc blocks all signals while it clones, and a blocked SIGSYS kills unheard.
        let unheard = matches!(name, "exec" | "fork" | "thread");
        assert!(unheard || text.contains("the sandbox refused system call number"), "{name}: {text:?}");
    }
    assert!(run("pwrite", b"").2.contains(&format!("number {:>5}", libc::SYS_pwrite64)), "the call is named");
    assert!(!std::path::Path::new("/tmp/sys-roles-escaped").exists());
    // Another architecture's table is no way out; there is nothing to name either.
    if cfg!(target_arch = "x86_64") {
        for name in ["foreign-arch", "x32"] {
            let (status, sent, _) = run(name, b"");
            assert!(status.signal().is_some() && sent.is_empty(), "{name}: {status:?}");
        }
    }
    let (status, sent, text) = run("allocate", b"");
    assert!(status.signal() == Some(libc::SIGABRT) && sent.is_empty(), "{status:?} {text}");
    assert!(text.contains("memory allocation of 2147483648 bytes failed"), "{text}");
    let (status, sent, text) = run("overflow", b"");
    assert!(status.signal() == Some(libc::SIGABRT) && sent.is_empty(), "{status:?} {text}");
    let start = Instant::now();
    let (status, sent, _) = run("spin", b"");
    assert!(status.signal() == Some(libc::SIGXCPU) && sent.is_empty(), "{status:?}");
    assert!(start.elapsed() < Duration::from_secs(15));
    println!("{} deeds tried, all stopped", forbidden.len() + 5);
}

fn passing() {
    let (ours, theirs) = Channel::pair().unwrap();
    let launch = Launch::own().arg("role").unwrap().arg("descriptors").unwrap();
    let mut child = launch.inherit(theirs.into()).spawn().unwrap();
    let (mut keep, give) = UnixStream::pair().unwrap();
    ours.send(br#"{"attach":"ttyS0"}"#, Some(give.as_fd())).unwrap();
    drop(give);
    ours.send(b"bye", None).unwrap();
    assert!(ours.send(b"", None).is_err() && ours.send(&[0; 5000], None).is_err());
    drop(ours);
    let mut text = String::new();
    keep.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(child.wait().unwrap().success());
    assert!(child.wait().unwrap().success(), "asked again it knows");
}

fn launching() {
    let nothing = Launch::program("/nonexistent/program".as_ref()).unwrap().spawn();
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert!(Launch::own().arg("a\0b").is_err());
    // Sources that sit on each other's target numbers arrive where they belong.
    let (mut a, a2) = std::io::pipe().unwrap();
    let (mut b, b2) = std::io::pipe().unwrap();
    let numbers = [a2.as_raw_fd(), b2.as_raw_fd()];
    let script = "echo one >&3; echo two >&4; echo $X >&4";
    let launch = Launch::program("/bin/sh".as_ref()).unwrap().arg("-c").unwrap().arg(script).unwrap();
    let launch = launch.environment(&["X=three"]).unwrap().inherit(a2.into()).inherit(b2.into());
    let mut child = launch.spawn().unwrap();
    let (mut one, mut two) = (String::new(), String::new());
    a.read_to_string(&mut one).unwrap();
    b.read_to_string(&mut two).unwrap();
    assert_eq!((one.as_str(), two.as_str()), ("one\n", "two\nthree\n"), "{numbers:?}");
    assert!(child.wait().unwrap().success());
    // Killed, it says so.
    let mut child = Launch::program("/bin/sleep".as_ref()).unwrap().arg("60").unwrap().spawn().unwrap();
    assert_eq!(child.wait_for(Duration::from_millis(30)).unwrap(), None);
    child.kill().unwrap();
    let status = child.wait_for(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(sys::process::describe(status), "was killed by SIGKILL");
    child.kill().unwrap();
    // What a terminal sends to our group reaches one that is like us, and none that is apart.
    let sleep = || Launch::program("/bin/sleep".as_ref()).unwrap().arg("60").unwrap();
    for (launch, apart) in [(sleep(), false), (sleep().apart(), true)] {
        let mut child = launch.spawn().unwrap();
        assert_eq!(group(child.id()), if apart { child.id() } else { group(std::process::id()) });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The process group of a process (proc_pid_stat(5), the fifth field).
fn group(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is a name in parentheses.
    let behind = &stat[stat.rfind(')').unwrap()..];
    behind.split(' ').nth(3).unwrap().parse().unwrap()
}
