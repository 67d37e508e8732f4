//! What the build asks of ELF files: a section by name, and whether a program is static.
//!
//! Offsets as in elf(5), ELF64 little-endian only.

/// Bytes `at..at + len`, if they are there.
pub(crate) fn slice(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    slice(bytes, at, 2)?.try_into().ok().map(|b| usize::from(u16::from_le_bytes(b)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    slice(bytes, at, 4)?.try_into().ok().and_then(|b| usize::try_from(u32::from_le_bytes(b)).ok())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    slice(bytes, at, 8)?.try_into().ok().and_then(|b| usize::try_from(u64::from_le_bytes(b)).ok())
}

fn is_elf64(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01")
}

/// The bytes of the section with this name.
pub fn section<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if !is_elf64(bytes) {
        return None;
    }
    let (table, size, count, names) =
        (u64_at(bytes, 0x28)?, u16_at(bytes, 0x3a)?, u16_at(bytes, 0x3c)?, u16_at(bytes, 0x3e)?);
    let header = |n: usize| slice(bytes, table.checked_add(n.checked_mul(size)?)?, 64);
    let body = |h: &[u8]| slice(bytes, u64_at(h, 0x18)?, u64_at(h, 0x20)?);
    let names = body(header(names)?)?;
    (0..count).filter_map(header).find_map(|h| {
        let own = names.get(u32_at(h, 0)?..)?.split(|b| *b == 0).next()?;
        if own == name.as_bytes() { body(h) } else { None }
    })
}

/// Whether this is a program that needs no loader and no shared library.
///
/// # Errors
/// What stands against it.
pub fn check_static(bytes: &[u8]) -> Result<(), String> {
    const PT_DYNAMIC: usize = 2;
    const PT_INTERP: usize = 3;
    const DT_NEEDED: u64 = 1;
    if !is_elf64(bytes) {
        return Err("it is not an ELF64 program".to_owned());
    }
    let cut = || "its program headers are cut short".to_owned();
    let (table, size, count) = (u64_at(bytes, 0x20), u16_at(bytes, 0x36), u16_at(bytes, 0x38));
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return Err(cut()) };
    for n in 0..count {
        let header = n.checked_mul(size).and_then(|o| o.checked_add(table)).and_then(|at| slice(bytes, at, 56));
        let header = header.ok_or_else(cut)?;
        match u32_at(header, 0) {
            Some(PT_INTERP) => return Err("it asks for a program interpreter (PT_INTERP)".to_owned()),
            // A static-pie program has a dynamic section: it must not name a library in it.
            Some(PT_DYNAMIC) => {
                let body = u64_at(header, 8).zip(u64_at(header, 32)).and_then(|(at, len)| slice(bytes, at, len));
                let tags = body.ok_or_else(cut)?.chunks_exact(16);
                if tags.map_while(|t| t.first_chunk::<8>()).any(|t| u64::from_le_bytes(*t) == DT_NEEDED) {
                    return Err("it asks for a shared library (DT_NEEDED)".to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_test_program_is_not_static() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(check_static(&own).unwrap_err().contains("PT_INTERP"));
        assert!(section(&own, ".text").is_some_and(|t| t.len() > 10_000));
        assert!(section(&own, ".no-such").is_none());
    }

    #[test]
    fn cut_and_changed_files_never_panic() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut head = own[..4096].to_vec();
        for len in 0..200 {
            let _ = (check_static(&own[..len]), section(&own[..len], ".text"));
        }
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let old = std::mem::replace(&mut head[at], value);
                let _ = (check_static(&head), section(&head, ".text"));
                head[at] = old;
            }
        }
    }
}
