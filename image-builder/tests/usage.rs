//! The command line: exit codes, and one sentence for what goes wrong.

#![expect(clippy::unwrap_used, reason = "a helper of a test panics as the test does")]

use std::process::Command;

/// Exit code and standard error.
fn run(arguments: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_image-builder")).args(arguments).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn wrong_usage_is_two_and_shows_the_usage() {
    for arguments in [
        &[][..],
        &["iso", "-o", "x"],
        &["usb"],
        &["usb", "-o", "x", "--kernel", "k"],
        &["usb", "-o", "x", "--store-size", "1"],
        &["usb", "-o", "x", "--no-such-option"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains("usage: cargo image usb"), "{said}");
    }
    assert_eq!(run(&["--help"]), (0, String::new()));
}

#[test]
fn what_cannot_be_built_is_one_in_one_line() {
    for arguments in [
        &["usb", "-o", "/dev/null"][..],
        &["initramfs", "-o", "/tmp"],
        &["initramfs", "-o", "/tmp/never", "--kernel", "/etc/hostname", "--modules", "/tmp"],
        &["initramfs", "-o", "/tmp/never", "--kernel", "/nowhere", "--modules", "/tmp"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("cargo image: "), "{said}");
    }
}
