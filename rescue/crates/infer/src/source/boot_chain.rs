//! The boot chain, which is followed apart from all else: the links of it that do not hold are evidence.

use super::evidence;
use model::boot::BootChain;
use model::evidence::{Evidence, Fact, Origin};

/// The breaks of a chain that every start comes to.
pub fn chain_facts(chain: &BootChain) -> Vec<Evidence> {
    let told = |link: &model::boot::BootLink| {
        let origin = Origin { volume: link.volume.clone(), path: link.path.clone(), range: None };
        evidence(&origin, Fact::ChainBroken { part: link.part, way: link.way }, link.says.as_str(), None)
    };
    chain.broken_in_every_way().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::boot::{BootLink, LinkPart, LinkState, Way};

    #[test]
    fn the_other_way_may_hold() {
        let link = |part, way, state| BootLink {
            part,
            way,
            volume: at("/").volume,
            path: None,
            state,
            needed: true,
            says: "it is not there".into(),
            advice: "".into(),
            repairable: false,
        };
        let told = |links: &[BootLink]| {
            let chain = BootChain { root: at("/").volume, links: links.to_vec() };
            let way = |e: Evidence| match e.fact {
                Fact::ChainBroken { way, .. } => way,
                other => panic!("{other:?}"),
            };
            chain_facts(&chain).into_iter().map(way).collect::<Vec<_>>()
        };
        let (ok, not_checked, broken) = (LinkState::Ok, LinkState::NotChecked, LinkState::Broken);
        let esp = |state| link(LinkPart::Fallback, Way::Uefi, state);
        let core = |state| link(LinkPart::BootCode, Way::Bios, state);
        assert_eq!(told(&[esp(ok), core(broken)]), []);
        assert_eq!(told(&[esp(broken), core(not_checked)]), []);
        assert_eq!(told(&[esp(broken)]), [Way::Uefi]);
        assert_eq!(told(&[esp(broken), core(broken)]), [Way::Uefi, Way::Bios]);
        assert_eq!(told(&[esp(ok), core(broken), link(LinkPart::Kernel, Way::Any, broken)]), [Way::Any]);
    }
}
