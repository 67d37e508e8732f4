//! Where chunks should begin: at the start of every run of a file.

use super::attribute::{Run, Value, kind};
use super::reader::Reader;
use model::cuts::Cuts;

/// Clusters of all runs of all files together, per cluster of the volume: an honest one has at most one.
const CLUSTERS_PER_CLUSTER: u64 = 2;

/// Cuts at the files of `reader`. What cannot be read stays on the grid: cutting is about sharing, never about content.
pub(super) fn cuts(reader: &Reader) -> Cuts {
    let boot = &reader.boot;
    let mut cuts = Cuts::on_grid(boot.cluster_size, reader.bytes().size());
    let mut left = boot.clusters.saturating_mul(CLUSTERS_PER_CLUSTER);
    let mut runs: Vec<Run> = Vec::new();
    for number in 0..reader.records() {
        let Ok(Some(record)) = reader.record(number) else { continue };
        for attribute in record.attributes().flatten().filter(|a| a.kind == kind::DATA && a.is_called("")) {
            let Value::Clusters(part) = attribute.value else { continue };
            runs.clear();
            if part.runs(boot.clusters, &mut runs).is_err() {
                continue;
            }
            for Run { from, len, at } in &runs {
                let Some(at) = at else { continue };
                let Some(rest) = left.checked_sub(*len) else { return cuts };
                left = rest;
                cuts.lay(*at, *len, *from);
            }
        }
    }
    cuts
}
