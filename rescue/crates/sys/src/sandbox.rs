//! The sandbox of the parser role: what interprets hostile bytes can compute, read the descriptors it was given, and
//! answer on its socket. Nothing else.
//!
//! A seccomp filter (kernel `Documentation/userspace-api/seccomp_filter.rst`) allows the few system calls that takes; any
//! other is not carried out, named on stderr, and ends the process (SIGSYS). Limits end what computes or allocates
//! without end.
#![expect(unsafe_code, reason = "prctl, seccomp and the signal handler")]

use model::units::ByteLen;
use nix::libc::{self, c_int, sock_filter, sock_fprog};
use nix::sys::resource::{Resource, setrlimit};
use std::io;

/// What the sandboxed process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space in all, the program itself included.
    pub memory: ByteLen,
    /// Processor time in all.
    pub cpu_seconds: u64,
}

/// Shuts this process in, for good. It must have one thread: the address-space limit means little with several
/// (allocator arenas), and the filter would cover the calling one only.
///
/// # Errors
/// Where there are more threads, or the system refuses any step; the process must not go on to parse then.
pub fn enter(limits: Limits) -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("{threads} threads run; the sandbox wants a process with one")));
    }
    // A backtrace would open files, which is forbidden from here on.
    // SAFETY: one thread, as checked: nobody reads the environment meanwhile.
    unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
    report_violations()?;
    // A write to a file beyond RLIMIT_FSIZE (stderr redirected to one) then fails instead of killing.
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let hard = limits.cpu_seconds.saturating_add(1);
    setrlimit(Resource::RLIMIT_AS, limits.memory.0, limits.memory.0)?;
    setrlimit(Resource::RLIMIT_CPU, limits.cpu_seconds, hard)?;
    for nothing in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_FSIZE, Resource::RLIMIT_CORE] {
        setrlimit(nothing, 0, 0)?;
    }
    prctl(libc::PR_SET_DUMPABLE, 0)?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    install(&filter())
}

fn prctl(option: c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: these options take numbers only.
    match unsafe { libc::prctl(option, value, zero, zero, zero) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn install(filter: &[sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until the call returns, and does not write to it.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Calls a single-threaded parser needs, whatever their arguments.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev, // panic messages
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_shutdown,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Offsets in `struct seccomp_data` (kernel `include/uapi/linux/seccomp.h`): the call's number, the architecture, and the
/// low half of argument `n` on a little-endian machine.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e; // include/uapi/linux/audit.h: EM_X86_64, 64 bits, little-endian
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7; // EM_AARCH64

/// The x32 calls share the architecture's name and set this bit in their number.
const X32: u32 = 0x4000_0000;

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("a BPF code has 16 bits"), jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn ret(action: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

/// A comparison that skips `no` statements where it does not hold.
fn unless(comparison: u32, k: u32, no: u8) -> sock_filter {
    sock_filter { jf: no, ..statement(libc::BPF_JMP | comparison | libc::BPF_K, k) }
}

/// A comparison that skips `yes` statements where it holds.
fn when(comparison: u32, k: u32, yes: u8) -> sock_filter {
    sock_filter { jt: yes, ..statement(libc::BPF_JMP | comparison | libc::BPF_K, k) }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("system call numbers are small")
}

/// Allows `call` where `checks` fall through; each check is statements that end by jumping to the refusal, which
/// follows directly.
fn allow_checked(out: &mut Vec<sock_filter>, call: libc::c_long, checks: &[sock_filter]) {
    // if number == call { checks; ALLOW; REFUSE }
    let len = u8::try_from(checks.len() + 2).expect("a few statements");
    out.push(unless(libc::BPF_JEQ, number(call), len));
    out.extend_from_slice(checks);
    out.push(ret(libc::SECCOMP_RET_ALLOW));
    out.push(ret(libc::SECCOMP_RET_TRAP));
}

/// The filter. Argument checks look at the low half of an argument where the kernel does (int arguments, protection and
/// flag bits), and at both halves of the one pointer.
fn filter() -> Vec<sock_filter> {
    let bits = |n: c_int| u32::try_from(n).expect("a flag constant");
    let mut out = vec![
        load(ARCH),
        when(libc::BPF_JEQ, AUDIT_ARCH, 1),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        unless(libc::BPF_JGE, X32, 1),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    for call in ALLOWED {
        out.push(unless(libc::BPF_JEQ, number(*call), 1));
        out.push(ret(libc::SECCOMP_RET_ALLOW));
    }
    // Memory may be mapped that is nobody's file and holds no code.
    let no_code = [load(argument(2)), when(libc::BPF_JSET, bits(libc::PROT_EXEC), 3)];
    let anonymous = [load(argument(3)), unless(libc::BPF_JSET, bits(libc::MAP_ANONYMOUS), 1)];
    allow_checked(&mut out, libc::SYS_mmap, &[no_code, anonymous].concat());
    let no_code = [load(argument(2)), when(libc::BPF_JSET, bits(libc::PROT_EXEC), 1)];
    allow_checked(&mut out, libc::SYS_mprotect, &no_code);
    // Sending goes to the other end of the socket, not to an address.
    let no_address =
        [load(argument(4)), unless(libc::BPF_JEQ, 0, 3), load(argument(4) + 4), unless(libc::BPF_JEQ, 0, 1)];
    allow_checked(&mut out, libc::SYS_sendto, &no_address);
    // An abort signals this process and no other.
    let own = [load(argument(0)), unless(libc::BPF_JEQ, std::process::id(), 1)];
    allow_checked(&mut out, libc::SYS_tgkill, &own);
    // Rust's debug builds ask whether a descriptor is open.
    let asks = [load(argument(1)), unless(libc::BPF_JEQ, bits(libc::F_GETFD), 1)];
    allow_checked(&mut out, libc::SYS_fcntl, &asks);
    out.push(ret(libc::SECCOMP_RET_TRAP));
    out
}

/// A refused call comes back as SIGSYS: say which, then die of it. The filter holds whatever this handler does.
fn report_violations() -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid one; the handler below is async-signal-safe. SA_RESETHAND puts the deadly
    // default back before it runs, SA_NODEFER lets its own SIGSYS through.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_violation as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `siginfo_t` of a SIGSYS (kernel `include/uapi/asm-generic/siginfo.h`, `_sigsys`; 64-bit).
#[repr(C)]
struct Violation {
    signo: c_int,
    errno: c_int,
    code: c_int,
    _pad: c_int,
    call_address: *const libc::c_void,
    syscall: c_int,
    arch: libc::c_uint,
}

extern "C" fn on_violation(_: c_int, info: *const Violation, _: *const libc::c_void) {
    // SAFETY: the kernel passes a SIGSYS's information, which has this shape. Only write, getpid, gettid and tgkill are
    // called, on memory of this function's own.
    unsafe {
        let mut text = *b"holdfast: the sandbox refused system call number      \n";
        let mut n = (*info).syscall.unsigned_abs();
        for place in text[49..54].iter_mut().rev() {
            *place = b'0' + u8::try_from(n % 10).unwrap_or(0);
            n /= 10;
            if n == 0 {
                break;
            }
        }
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), libc::SIGSYS);
    }
}
