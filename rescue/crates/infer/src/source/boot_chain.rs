//! The boot chain, which is followed apart from all else: the links of it that do not hold are evidence.

use super::evidence;
use model::boot::BootChain;
use model::evidence::{Evidence, Fact, Origin};

/// The breaks of a chain that a start comes to.
pub fn chain_facts(chain: &BootChain) -> Vec<Evidence> {
    let told = |link: &model::boot::BootLink| {
        let origin = Origin { volume: link.volume.clone(), path: link.path.clone(), range: None };
        evidence(&origin, Fact::ChainBroken { part: link.part, way: link.way }, link.says.as_str(), None)
    };
    chain.broken().map(told).collect()
}
