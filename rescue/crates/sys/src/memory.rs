//! How much memory the system can give.

use model::units::ByteLen;

/// What can be had without swapping, as the kernel estimates it (`MemAvailable` of `/proc/meminfo`, `Documentation/filesystems/proc.rst`);
/// `None` where it does not tell.
pub fn available() -> Option<ByteLen> {
    read(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn read(text: &str) -> Option<ByteLen> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(ByteLen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read() {
        assert_eq!(read("MemTotal: 4 kB\nMemAvailable:     2048 kB\n"), Some(ByteLen(2 << 20)));
        assert_eq!(read("MemTotal: 4 kB\n"), None);
        assert!(available().is_some_and(|m| m > ByteLen::ZERO));
    }
}
