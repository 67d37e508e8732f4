//! A server for one disk on one socket: NBD, fixed newstyle, with simple replies.
//!
//! Source: the protocol's own document (doc/proto.md of the NetworkBlockDevice project). Numbers are big-endian. Whoever
//! speaks on the other end may be taken over by what runs in the machine: every length and place is checked, nothing is
//! kept of one request for the next, and what makes no sense ends the connection.

use crate::run::overlay::Overlay;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::io::{self, Read, Write};

const MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
const OPTION: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const SIMPLE_REPLY: u32 = 0x6744_6698;

/// Handshake flags: `NBD_FLAG_FIXED_NEWSTYLE`, `NBD_FLAG_NO_ZEROES`; the client's have the same bits.
const FIXED_NEWSTYLE: u32 = 1;
const NO_ZEROES: u32 = 2;

/// Options of a client.
const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;

/// Replies to options.
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = (1 << 31) | 1;
const REP_ERR_INVALID: u32 = (1 << 31) | 3;
const REP_ERR_UNKNOWN: u32 = (1 << 31) | 6;

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// Transmission flags: `HAS_FLAGS`, `SEND_FLUSH`, `SEND_FUA`, `SEND_WRITE_ZEROES`. Nothing is discarded: what a machine trims
/// it does not need to be gone.
const TRANSMISSION: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 6;

const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;
const CMD_DISC: u16 = 2;
const CMD_FLUSH: u16 = 3;
const CMD_WRITE_ZEROES: u16 = 6;
/// Flags of a command that change nothing here: `FUA` (nothing is durable, nor is it meant to be) and `NO_HOLE`.
const COMMAND_FLAGS: u16 = 1 | 1 << 1;

/// Errors, as the protocol numbers them (those of Linux).
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

/// Longest data of an option: a name is at most 4096 bytes, and a few numbers stand beside it.
const MOST_OPTION: u32 = 8192;
/// Most options before a client must have chosen an export.
const MOST_OPTIONS: usize = 32;
/// Longest read or write, as a client is told and as the protocol allows without asking.
const MOST: u32 = 32 << 20;
/// What a client does best to keep to.
const PREFERRED: u32 = 4096;

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u32_of(from: &mut impl Read) -> io::Result<u32> {
    take(from).map(u32::from_be_bytes)
}

/// Serves a disk under a name until the other end is done with it or gone.
///
/// # Errors
/// What the socket says; [`io::ErrorKind::InvalidData`] where the other end does not keep to the protocol.
pub(in crate::run) fn serve(line: &mut (impl Read + Write), name: &str, disk: &Overlay) -> io::Result<()> {
    if !negotiate(line, name, disk.size())? {
        return Ok(());
    }
    while answer(line, disk)? {}
    Ok(())
}

/// The handshake. True where the export was chosen and requests follow.
fn negotiate(line: &mut (impl Read + Write), name: &str, size: ByteLen) -> io::Result<bool> {
    let mut hello = Vec::from(MAGIC.to_be_bytes());
    hello.extend(OPTION.to_be_bytes());
    hello.extend([0, 3]);
    line.write_all(&hello)?;
    let flags = u32_of(line)?;
    if flags & FIXED_NEWSTYLE == 0 || flags & !(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
        return Err(bad("a client with other flags"));
    }
    for _ in 0..MOST_OPTIONS {
        if u64::from_be_bytes(take(line)?) != OPTION {
            return Err(bad("no option"));
        }
        let (option, len) = (u32_of(line)?, u32_of(line)?);
        if len > MOST_OPTION {
            return Err(bad("an option too long"));
        }
        let mut data = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        line.read_exact(&mut data)?;
        match option {
            OPT_EXPORT_NAME => {
                // The one option whose refusal is the end.
                if data != name.as_bytes() {
                    return Err(bad("another export"));
                }
                let mut export = Vec::from(size.0.to_be_bytes());
                export.extend(TRANSMISSION.to_be_bytes());
                if flags & NO_ZEROES == 0 {
                    export.extend([0; 124]);
                }
                line.write_all(&export)?;
                return Ok(true);
            }
            OPT_INFO | OPT_GO => match wanted(&data) {
                None => reply(line, option, REP_ERR_INVALID, &[])?,
                Some(wanted) if wanted != name.as_bytes() => reply(line, option, REP_ERR_UNKNOWN, &[])?,
                Some(_) => {
                    let mut export = Vec::from(INFO_EXPORT.to_be_bytes());
                    export.extend(size.0.to_be_bytes());
                    export.extend(TRANSMISSION.to_be_bytes());
                    reply(line, option, REP_INFO, &export)?;
                    let mut blocks = Vec::from(INFO_BLOCK_SIZE.to_be_bytes());
                    [1, PREFERRED, MOST].iter().for_each(|n: &u32| blocks.extend(n.to_be_bytes()));
                    reply(line, option, REP_INFO, &blocks)?;
                    reply(line, option, REP_ACK, &[])?;
                    if option == OPT_GO {
                        return Ok(true);
                    }
                }
            },
            OPT_ABORT => {
                reply(line, option, REP_ACK, &[])?;
                return Ok(false);
            }
            _ => reply(line, option, REP_ERR_UNSUP, &[])?,
        }
    }
    Err(bad("too many options"))
}

fn reply(line: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut out = Vec::from(OPTION_REPLY.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(u32::try_from(data.len()).map_err(io::Error::other)?.to_be_bytes());
    out.extend(data);
    line.write_all(&out)
}

/// The name in the data of `INFO` and `GO`: its length, it, and a list of what else is asked.
fn wanted(data: &[u8]) -> Option<&[u8]> {
    let (len, rest) = data.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    (rest.len() == 2 * usize::from(u16::from_be_bytes(*count))).then_some(name)
}

/// Answers one request; false where it was the last.
fn answer(line: &mut (impl Read + Write), disk: &Overlay) -> io::Result<bool> {
    let magic = match u32_of(line) {
        // A client that is gone between two requests.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        magic => magic?,
    };
    if magic != REQUEST {
        return Err(bad("no request"));
    }
    let [flags, command] = [u16::from_be_bytes(take(line)?), u16::from_be_bytes(take(line)?)];
    let cookie: [u8; 8] = take(line)?;
    let (at, len) = (ByteOffset(u64::from_be_bytes(take(line)?)), u32_of(line)?);
    let data = match command {
        CMD_DISC => return Ok(false),
        // What follows cannot be skipped without taking it.
        CMD_WRITE if len > MOST => return Err(bad("a write too long")),
        CMD_WRITE => received(line, len)?,
        _ => Vec::new(),
    };
    let within = at.0.checked_add(u64::from(len)).is_some_and(|end| end <= disk.size().0);
    let known = flags & !COMMAND_FLAGS == 0;
    let done = match command {
        _ if !known => Err(EINVAL),
        CMD_FLUSH => Ok(Vec::new()),
        CMD_WRITE | CMD_WRITE_ZEROES if !within => Err(ENOSPC),
        CMD_READ if within && len <= MOST => {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            disk.read_vec(at, len).map_err(|_| EIO)
        }
        CMD_WRITE => disk.write(at, &data).map(|()| Vec::new()).map_err(|e| code(&e)),
        CMD_WRITE_ZEROES => disk.zero(at, ByteLen(len.into())).map(|()| Vec::new()).map_err(|e| code(&e)),
        _ => Err(EINVAL),
    };
    let (error, data) = match done {
        Ok(data) => (0, data),
        Err(error) => (error, Vec::new()),
    };
    let mut out = Vec::with_capacity(16 + data.len());
    out.extend(SIMPLE_REPLY.to_be_bytes());
    out.extend(u32::to_be_bytes(error));
    out.extend(cookie);
    out.extend(data);
    line.write_all(&out)?;
    Ok(true)
}

/// Takes what is written; memory grows with what really comes.
fn received(line: &mut impl Read, len: u32) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let took = line.take(len.into()).read_to_end(&mut data)?;
    if took as u64 == u64::from(len) { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn code(e: &io::Error) -> u32 {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ENOSPC,
        _ => EIO,
    }
}

#[cfg(test)]
mod tests;
