//! A policy, and the kernel's command line: what somebody may have written on a stick, or typed.

use crate::Target;
use model::policy::Policy;

#[path = "../../../../../initramfs/src/cmdline.rs"]
mod cmdline;

pub(super) const TARGET: Target =
    Target { name: "policy", meets: "the text of a policy; the kernel's command line", run, seeds };

fn run(input: &[u8]) {
    match Policy::parse(input) {
        Ok(policy) => assert!(policy.is_sound(), "a policy that no other process would be believed"),
        Err(e) => assert!(e.says.as_str().len() < 4096, "an error without end"),
    }
    let options = cmdline::Options::parse(&String::from_utf8_lossy(input));
    let words = options.consoles.len() + options.unknown.len();
    assert!(words <= input.len(), "more words than there are");
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "[save]\nunchanged = skip\nhibernated = save\nlabel-broken = broken\nlabel-crashed =\nnot-understood = leave\nleave-out = /srv /data\n\n\
         [full]\nevery = 20\ndays = 30\n\n[keep]\ndaily = 7\nweekly = 4\nmonthly = 12\nfloor = 3\nprune = yes\n\n[rescue]\nwait = 10\nthen = reboot\n",
        "# nothing\n",
        "[save]\nunchanged = save\nunchanged = save\n",
        "BOOT_IMAGE=/vmlinuz console=tty0 console=ttyS0,115200n8 holdfast.store=AD53FB9E-1F4D-4A3F-9F34-7D8ED2A6D3F1 holdfast.policy=auto holdfast.settle=9 holdfast.log=ttyS1 holdfast.verbose holdfast.x",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
