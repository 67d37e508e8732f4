//! A boot chain in words.

use super::words::Mark;
use model::assessment::Report;
use model::boot::{BootChain, BootLink, LinkState};
use model::id::VolumePath;

/// The boot chain of the system on that root, where it was followed.
pub fn of<'a>(report: &'a Report, root: &VolumePath) -> Option<&'a BootChain> {
    report.boot.iter().find(|c| c.root == *root && !c.links.is_empty())
}

/// How a link or a chain stands.
pub fn mark(state: LinkState) -> Mark {
    match state {
        LinkState::Ok => Mark::Good,
        LinkState::NotChecked => Mark::Unsure,
        LinkState::Broken => Mark::Bad,
    }
}

/// How a chain stands, in a sentence without a full stop.
pub fn sentence(chain: &BootChain) -> String {
    let unchecked = || {
        let mut names: Vec<&str> = Vec::new();
        for link in chain.links.iter().filter(|l| l.needed && l.state == LinkState::NotChecked) {
            let name = link.part.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    };
    match (chain.state(), unchecked()) {
        (LinkState::Ok, _) => "every link holds, from the boot loader to the first process".into(),
        (LinkState::NotChecked, names) if names.is_empty() => {
            "nothing broken was found, but no way from the firmware could be followed".into()
        }
        (LinkState::NotChecked, names) => format!("nothing broken was found; not checked: {names}"),
        (LinkState::Broken, _) => {
            let mut broken = chain.broken();
            let first = broken.next().map(|l| l.says.to_string()).unwrap_or_default();
            match broken.count() {
                0 => first,
                more => format!("{first}; and {} more", crate::tui::text::count(more, "broken link")),
            }
        }
    }
}

/// Where a link lies, and what was seen of it.
pub fn link(link: &BootLink) -> String {
    format!("{} ({}): {}", link.part.name(), link.volume, link.says)
}
