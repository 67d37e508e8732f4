//! A disk as a bar of its partitions, as wide as they are large (but for what would be too narrow to read).

use crate::tui::state::Ui;
use crate::tui::text::{cut, field};
use crate::tui::words;
use model::id::VolumePath;
use model::inspection::{Content, Disk, Inspection, Volume};
use model::units::ByteLen;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// The narrowest segment: `p1` and a word or size.
const NARROWEST: usize = 8;
/// Room between partitions that is worth showing.
const WORTH: u64 = 64 << 20;

struct Segment {
    top: String,
    bottom: String,
    size: ByteLen,
    style: Style,
}

/// The rows: which disk, and the bar, two rows high. The part that has the chosen volume is shown the other way round.
pub(super) fn lines(
    ui: &Ui,
    inspection: &Inspection,
    disk: &Disk,
    chosen: Option<&VolumePath>,
    columns: usize,
) -> Vec<Line<'static>> {
    let h = &disk.hardware;
    let mut name = format!("{}: {} {}", disk.no, h.size, h.model);
    if !h.transport.as_str().is_empty() {
        name.push_str(&format!(", {}", h.transport));
    }
    if let Some(shown) = &h.shown_as {
        name.push_str(&format!(" ({shown})"));
    }
    if h.write_protected {
        name.push_str(", [!!] write-protected");
    }
    let segments = merged(segments(ui, inspection, disk, chosen), columns);
    let widths = widths(&segments, columns.saturating_sub(1));
    let row = |pick: fn(&Segment) -> &str| {
        let mut spans = vec![Span::raw("│")];
        for (s, w) in segments.iter().zip(&widths) {
            spans.push(Span::styled(field(pick(s), w.saturating_sub(1)), s.style));
            spans.push(Span::raw("│"));
        }
        Line::from(spans)
    };
    vec![Line::raw(cut(&name, columns)), row(|s| &s.top), row(|s| &s.bottom)]
}

fn segments(ui: &Ui, inspection: &Inspection, disk: &Disk, chosen: Option<&VolumePath>) -> Vec<Segment> {
    let mut volumes: Vec<&Volume> = disk.volumes.iter().collect();
    volumes.sort_by_key(|v| v.extent.start());
    let mut out = Vec::new();
    let mut at = 0;
    let gap = |out: &mut Vec<Segment>, from: u64, to: u64| {
        if let Some(size) = to.checked_sub(from).filter(|s| *s >= WORTH) {
            let size = ByteLen(size);
            out.push(Segment { top: String::new(), bottom: format!("{size} free"), size, style: Style::new() });
        }
    };
    for v in volumes {
        gap(&mut out, at, v.extent.start().0);
        at = at.max(v.extent.end().0);
        let style = match &v.content {
            Content::Fenced(_) | Content::Damaged { .. } => ui.look.bad(),
            Content::Ext(_)
            | Content::Fat(_)
            | Content::Exfat(_)
            | Content::Ntfs(_)
            | Content::Xfs(_)
            | Content::Btrfs(_)
            | Content::Swap(_)
            | Content::Lvm(_)
            | Content::Md(_)
            | Content::BtrfsDevice(_) => ui.look.good(),
            Content::Luks(l) if l.open => ui.look.good(),
            Content::Luks(_) | Content::Recognised { .. } | Content::BiosBoot | Content::Empty | Content::Unknown => {
                Style::new()
            }
        };
        let has = |chosen: &VolumePath| *chosen == v.path || chosen.lies_on(&v.path);
        let style = if chosen.is_some_and(has) { ui.look.bar() } else { style };
        let name = v.path.number().map_or_else(|| "whole".to_owned(), |n| format!("p{n}"));
        out.push(Segment {
            top: format!("{name} {}", words::volume(inspection, v)),
            bottom: v.extent.len().to_string(),
            size: v.extent.len(),
            style,
        });
    }
    gap(&mut out, at, disk.hardware.size.0);
    if out.is_empty() {
        out.push(Segment {
            top: "no partitions".into(),
            bottom: String::new(),
            size: disk.hardware.size,
            style: Style::new(),
        });
    }
    out
}

/// As many as fit; the rest become one.
fn merged(mut segments: Vec<Segment>, columns: usize) -> Vec<Segment> {
    let most = (columns / NARROWEST).max(1);
    if segments.len() > most {
        let rest = segments.split_off(most - 1);
        let size = ByteLen(rest.iter().map(|s| s.size.0).fold(0, u64::saturating_add));
        segments.push(Segment { top: format!("+{}", rest.len()), bottom: size.to_string(), size, style: Style::new() });
    }
    segments
}

/// Shares the columns out by size, none below the narrowest.
fn widths(segments: &[Segment], columns: usize) -> Vec<usize> {
    let spare = columns.saturating_sub(segments.len() * NARROWEST);
    let all: u128 = segments.iter().map(|s| u128::from(s.size.0)).sum::<u128>().max(1);
    let share = |s: &Segment| usize::try_from(u128::from(s.size.0) * spare as u128 / all).unwrap_or(0);
    let mut out: Vec<usize> = segments.iter().map(|s| NARROWEST + share(s)).collect();
    let used: usize = out.iter().sum();
    // What rounding left goes to the largest.
    if let Some(at) = (0..segments.len()).max_by_key(|i| segments[*i].size) {
        out[at] += columns.saturating_sub(used);
    }
    out
}
