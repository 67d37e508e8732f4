//! `/etc/machine-id` (machine-id(5)): empty or `uninitialized` until the first boot completed.

use super::bytes::head;
use super::{evidence, unreadable};
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;

/// Reads the machine id. A sound one is no evidence: the system itself carries it.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match head(file, 64) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "the machine id", &e.to_string())],
    };
    match bytes.trim_ascii() {
        b"" | b"uninitialized" => {
            vec![evidence(
                origin,
                Fact::FirstBootPending,
                "the machine id was never set: the first start is pending",
                None,
            )]
        }
        id if id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) => Vec::new(),
        other => vec![unreadable(origin, "the machine id", &format!("{} bytes that are no machine id", other.len()))],
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn three_states() {
        let facts = |bytes: &[u8]| -> Vec<Fact> {
            parse(&at("/etc/machine-id"), &bytes.to_vec()).into_iter().map(|e| e.fact).collect()
        };
        assert_eq!(facts(b""), [Fact::FirstBootPending]);
        assert_eq!(facts(b"uninitialized\n"), [Fact::FirstBootPending]);
        assert_eq!(facts(b"0123456789abcdef0123456789abcdef\n"), []);
        assert!(matches!(facts(&[0; 33])[..], [Fact::Unreadable { .. }]));
    }
}
