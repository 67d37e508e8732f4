//! apk's database of installed packages (apk-tools 3.0 and 2.14, `src/database.c`): paragraphs of lines `X:value`.
//!
//! It is written anew, as a whole, when a transaction ends.

use super::bytes::head;
use super::{evidence, unreadable};
use crate::want::APK_INSTALLED;
use model::evidence::{Evidence, Fact, Origin, PackageManager, PackageState};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Packages not in order that are told.
const MOST_TOLD: usize = 64;
/// Longest text told.
const MOST_TEXT: usize = 200;

/// Reads what is installed.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match head(file, APK_INSTALLED) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "apk's database", &e.to_string())],
    };
    let (mut installed, mut broken) = (0u32, Vec::new());
    let (mut name, mut version) = (String::new(), String::new());
    for line in bytes.split(|b| *b == b'\n') {
        let Some((key, value)) = line.split_at_checked(2) else { continue };
        let text = || DisplayText::new(&String::from_utf8_lossy(value)).shortened(MOST_TEXT);
        match key {
            b"P:" => {
                installed = installed.saturating_add(1);
                name = text();
            }
            b"V:" => version = text(),
            // `f`: files are missing, `s` and `x`: its scripts or extended attributes failed. A capital S is a matter of taste (`apk_pkg_ipkg`).
            b"f:" if value.iter().any(|b| matches!(b, b'f' | b's' | b'x')) && broken.len() < MOST_TOLD => {
                let state = DisplayText::new(&format!("marked {}", text()));
                broken.push(PackageState { name: name.as_str().into(), version: version.as_str().into(), state });
            }
            _ => {}
        }
    }
    if installed == 0 && !bytes.is_empty() {
        return vec![unreadable(origin, "apk's database", "it names no package")];
    }
    let says = match broken.len() {
        0 => format!("apk's database has {installed} packages, all in order"),
        n => format!("apk's database has {installed} packages, {n} of them marked as not in order"),
    };
    vec![evidence(
        origin,
        Fact::Packages { manager: PackageManager::Apk, installed: Some(installed), broken },
        &says,
        None,
    )]
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn marks_are_told() {
        let text =
            b"C:Q1abc\nP:musl\nV:1.2.5-r0\nF:lib\nR:x\n\nP:bash\nV:5.2-r1\nf:S\n\nP:vim\nV:9-r0\nf:fs\n\n".to_vec();
        let fact = &parse(&at("/lib/apk/db/installed"), &text)[0].fact;
        let Fact::Packages { installed: Some(3), broken, .. } = fact else { panic!("{fact:?}") };
        assert_eq!((broken.len(), broken[0].name.as_str(), broken[0].state.as_str()), (1, "vim", "marked fs"));
        assert!(matches!(parse(&at("/lib/apk/db/installed"), &b"nonsense".to_vec())[0].fact, Fact::Unreadable { .. }));
    }
}
