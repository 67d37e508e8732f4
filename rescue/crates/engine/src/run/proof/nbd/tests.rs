use super::*;
use crate::run::overlay::Room;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;

const SIZE: usize = 8 << 20;

fn base() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    for (i, block) in bytes.chunks_mut(512).enumerate().filter(|(i, _)| i % 7 < 3) {
        block.fill(u8::try_from(i % 255).unwrap() + 1);
    }
    bytes
}

fn overlay() -> Arc<Overlay> {
    Overlay::new(Arc::new(base()), Room::new(ByteLen(1 << 20), ByteLen(64 << 20), std::env::temp_dir()))
}

/// Serves whoever connects to a socket, one after the other, until `clients` were there.
fn served(overlay: &Arc<Overlay>, clients: usize) -> (tempfile::TempDir, String, JoinHandle<Vec<io::Result<()>>>) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let overlay = overlay.clone();
    let serving = std::thread::spawn(move || {
        (0..clients).map(|_| serve(&mut listener.accept().unwrap().0, "d0", &overlay)).collect()
    });
    (dir, format!("nbd+unix:///d0?socket={}", socket.display()), serving)
}

/// A tool of Debian's package qemu-utils.
fn tool(program: &str, args: &[&str]) -> Output {
    let out = Command::new(program).args(args).output();
    out.unwrap_or_else(|e| panic!("{program} does not start ({e}); package qemu-utils"))
}

fn worked(out: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn qemu_reads_what_is_there() {
    let overlay = overlay();
    let (dir, uri, serving) = served(&overlay, 3);
    let (raw, copy) = (dir.path().join("raw.img"), dir.path().join("copy.img"));
    std::fs::write(&raw, base()).unwrap();
    let info = tool("qemu-img", &["info", "-f", "raw", "--output=json", &uri]);
    worked(&info);
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["virtual-size"], SIZE);
    worked(&tool("qemu-img", &["compare", "-f", "raw", "-F", "raw", raw.to_str().unwrap(), &uri]));
    worked(&tool("qemu-img", &["convert", "-f", "raw", "-O", "raw", &uri, copy.to_str().unwrap()]));
    assert!(std::fs::read(&copy).unwrap() == base());
    assert!(serving.join().unwrap().iter().all(Result::is_ok));
    assert_eq!(overlay.written(), ByteLen::ZERO);
}

#[test]
fn qemu_writes_beside_it() {
    let overlay = overlay();
    let before = overlay.view();
    let (_dir, uri, serving) = served(&overlay, 2);
    let write = [
        "-f",
        "raw",
        "-c",
        "write -P 0x5a 1000k 200k",
        "-c",
        "write -P 0x33 513 511",
        "-c",
        "write -z 2M 1M",
        "-c",
        "flush",
        &uri,
    ];
    let out = tool("qemu-io", &write);
    worked(&out);
    let read =
        ["-f", "raw", "-c", "read -P 0x5a 1000k 200k", "-c", "read -P 0 2M 1M", "-c", "read -P 0x33 513 511", &uri];
    let out = tool("qemu-io", &read);
    worked(&out);
    assert!(!String::from_utf8_lossy(&out.stdout).contains("verification failed"), "{out:?}");
    assert!(serving.join().unwrap().iter().all(Result::is_ok));
    let mut expected = base();
    expected[1000 << 10..1200 << 10].fill(0x5a);
    expected[513..1024].fill(0x33);
    expected[2 << 20..3 << 20].fill(0);
    assert!(overlay.read_vec(ByteOffset(0), SIZE).unwrap() == expected);
    assert!(before.read_vec(ByteOffset(0), SIZE).unwrap() == base(), "what lies below stays");
}

#[test]
fn another_name_is_refused() {
    let (_dir, uri, serving) = served(&overlay(), 1);
    assert!(!tool("qemu-img", &["info", &uri.replace("/d0", "/d1")]).status.success());
    let _ = serving.join().unwrap();
}

/// A client that says whatever it likes, and what it is answered until the end of the connection.
fn said(bytes: &[u8]) -> (io::Result<()>, Vec<u8>) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let overlay = overlay();
    let serving = std::thread::spawn(move || {
        let mut theirs = theirs;
        serve(&mut theirs, "d0", &overlay)
    });
    // A server that ended already does not take the rest.
    let _ = ours.write_all(bytes);
    let _ = ours.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = ours.read_to_end(&mut answer);
    (serving.join().unwrap(), answer)
}

fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(*b"IHAVEOPT");
    out.extend(option.to_be_bytes());
    out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

fn request(flags: u16, command: u16, at: u64, len: u32) -> Vec<u8> {
    let mut out = Vec::from(REQUEST.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out.extend(command.to_be_bytes());
    out.extend([9; 8]);
    out.extend(at.to_be_bytes());
    out.extend(len.to_be_bytes());
    out
}

fn hello() -> Vec<u8> {
    [&3u32.to_be_bytes()[..], &option(OPT_EXPORT_NAME, b"d0")].concat()
}

/// The errors of the replies to requests that give no data.
fn errors(answer: &[u8]) -> Vec<u32> {
    // 18 bytes of greeting, 10 of the export.
    let replies = answer[28..].chunks(16);
    replies
        .map(|r| {
            assert_eq!((&r[..4], &r[8..]), (&SIMPLE_REPLY.to_be_bytes()[..], &[9; 8][..]));
            u32::from_be_bytes(r[4..8].try_into().unwrap())
        })
        .collect()
}

#[test]
fn requests_outside_the_disk_are_refused() {
    let size = SIZE as u64;
    let mut bytes = hello();
    let asked = [
        (request(0, CMD_READ, size, 1), EINVAL),
        (request(0, CMD_READ, u64::MAX, 2), EINVAL),
        (request(0, CMD_READ, 0, MOST + 1), EINVAL),
        (request(0, CMD_READ, 0, u32::MAX), EINVAL),
        (request(0, CMD_WRITE_ZEROES, size - 1, 2), ENOSPC),
        (request(0, CMD_WRITE_ZEROES, u64::MAX, u32::MAX), ENOSPC),
        (request(0, 4, 0, 4096), EINVAL),
        (request(0, 77, 0, 0), EINVAL),
        (request(0x8000, CMD_READ, 0, 1), EINVAL),
        ([request(0, CMD_WRITE, size, 2), vec![1, 2]].concat(), ENOSPC),
        (request(0, CMD_FLUSH, 0, 0), 0),
        (request(1, CMD_WRITE, 0, 0), 0),
    ];
    asked.iter().for_each(|(request, _)| bytes.extend(request));
    let (ended, answer) = said(&bytes);
    ended.unwrap();
    assert_eq!(errors(&answer), asked.iter().map(|(_, error)| *error).collect::<Vec<_>>());
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    let flags = 3u32.to_be_bytes();
    let go = |name: &[u8], count: u16| {
        [&u32::try_from(name.len()).unwrap().to_be_bytes()[..], name, &count.to_be_bytes()].concat()
    };
    let broken = [
        vec![0xff; 4],
        [&flags[..], b"IHAVENOT"].concat(),
        [&flags[..], b"IHAVEOPT", &[0, 0, 0, 7], &u32::MAX.to_be_bytes()].concat(),
        [&flags[..], &option(OPT_EXPORT_NAME, b"d1")].concat(),
        [&flags[..], &option(99, b"").repeat(MOST_OPTIONS + 1)].concat(),
        [hello(), vec![0; 28]].concat(),
        [hello(), request(0, CMD_WRITE, 0, MOST + 1)].concat(),
        [hello(), request(0, CMD_WRITE, 0, 1000), vec![1; 999]].concat(),
    ];
    for bytes in broken {
        assert!(said(&bytes).0.is_err(), "{bytes:?}");
    }
    // An option that is wrong is refused, and the next one is heard.
    let mut bytes = Vec::from(flags);
    for data in [&b""[..], &[0xff; 6], &go(b"d0", 1), &go(b"d1", 0)] {
        bytes.extend(option(OPT_GO, data));
    }
    bytes.extend(option(OPT_ABORT, b""));
    let (ended, answer) = said(&bytes);
    ended.unwrap();
    let kinds: Vec<u32> =
        answer[18..].chunks(20).map(|reply| u32::from_be_bytes(reply[12..16].try_into().unwrap())).collect();
    assert_eq!(kinds, [REP_ERR_INVALID, REP_ERR_INVALID, REP_ERR_INVALID, REP_ERR_UNKNOWN, REP_ACK]);
}
