//! Archives of files that tests keep (ustar).

/// The regular files of an archive: name and content.
pub(crate) fn files(kept: &[u8]) -> Vec<(String, Vec<u8>)> {
    let tar = zstd::stream::decode_all(kept).expect("a frame of zstd");
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(head) = tar.get(at..at + 512).filter(|h| h[0] != 0) {
        let text =
            |from: usize, to: usize| String::from_utf8_lossy(&head[from..to]).trim_end_matches(['\0', ' ']).to_owned();
        let len = usize::from_str_radix(&text(124, 136), 8).unwrap_or(0);
        if matches!(head[156], b'0' | 0) {
            let name = text(0, 100).trim_start_matches("./").to_owned();
            out.push((name, tar.get(at + 512..at + 512 + len).unwrap_or_default().to_vec()));
        }
        at += 512 + len.div_ceil(512) * 512;
    }
    out
}
