//! A chart as SVG: cost against change, a line for each contender.

use std::fmt::Write;

/// Colours that are told apart by people who do not see all of them (Okabe and Ito).
const COLOURS: &[&str] = &["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
const WIDTH: f64 = 760.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 45.0;

/// One drawing: several lines over the same places, on a scale of tenfold steps.
pub(super) struct Panel {
    /// What is drawn, with its unit.
    pub(super) title: String,
    /// Smaller figures are drawn as this one.
    pub(super) least: f64,
    /// Each line's name and its figures, one for each place where there is one.
    pub(super) lines: Vec<(String, Vec<Option<f64>>)>,
}

/// The panels one above the other, over places with these names.
pub(super) fn svg(places: &[String], across: &str, panels: &[Panel]) -> String {
    let mut out = String::new();
    let mut top = 0.0;
    for panel in panels {
        draw(&mut out, panel, places, across, top);
        top += PANEL;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#ffffff\"/>\n{out}</svg>\n"
    )
}

fn draw(out: &mut String, panel: &Panel, places: &[String], across: &str, top: f64) {
    let figures = || panel.lines.iter().flat_map(|(_, f)| f.iter().flatten().map(|v| v.max(panel.least)));
    let low = figures().fold(f64::INFINITY, f64::min).log10().floor();
    let high = figures().fold(f64::NEG_INFINITY, f64::max).log10().ceil().max(low + 1.0);
    if !low.is_finite() || !high.is_finite() {
        return;
    }
    let (right, bottom) = (WIDTH - RIGHT, top + PANEL - BOTTOM);
    let x = |n: usize| LEFT + (right - LEFT) * fraction(n, places.len());
    let y = |v: f64| bottom - (bottom - top - TOP) * ((v.max(panel.least).log10() - low) / (high - low));
    text(out, LEFT, top + 22.0, "start", &panel.title);
    let mut power = low;
    while power <= high {
        let v = 10_f64.powf(power);
        line(out, &[(LEFT, y(v)), (right, y(v))], "#d0d0d0", 1.0);
        text(out, LEFT - 6.0, y(v) + 4.0, "end", &format!("{v}"));
        power += 1.0;
    }
    for (n, place) in places.iter().enumerate() {
        text(out, x(n), bottom + 16.0, "middle", place);
    }
    text(out, f64::midpoint(LEFT, right), bottom + 34.0, "middle", across);
    let mut names: Vec<(f64, &str, &str)> = Vec::new();
    for ((name, figures), colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = figures.iter().enumerate().filter_map(|(n, f)| Some((x(n), y((*f)?)))).collect();
        line(out, &points, colour, 2.0);
        for (px, py) in &points {
            let _ = writeln!(out, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        if let Some((_, py)) = points.last() {
            names.push((*py, name, colour));
        }
    }
    // Names beside the ends of their lines, moved down where they would cover each other.
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = top;
    for (at, name, colour) in names {
        let at = at.max(free);
        free = at + 14.0;
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", right + 10.0, at + 4.0);
    }
}

/// How far along place `n` of `count` is.
fn fraction(n: usize, count: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(n) / number(count.saturating_sub(1).max(1))
}

fn line(out: &mut String, points: &[(f64, f64)], colour: &str, width: f64) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>",
        points.join(" ")
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, says: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333333\">{says}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_is_higher_and_zero_is_drawn() {
        let line = |name: &str, figures: &[f64]| (name.to_owned(), figures.iter().map(|f| Some(*f)).collect());
        let panel = Panel {
            title: "MB".to_owned(),
            least: 0.1,
            lines: vec![line("a", &[0.0, 10.0]), line("b", &[1.0, 1000.0])],
        };
        let drawn = svg(&["0".to_owned(), "300".to_owned()], "changed", &[panel]);
        let at = |name: &str| -> f64 {
            let line = drawn.lines().find(|l| l.ends_with(&format!(">{name}</text>"))).unwrap();
            line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        assert!(at("b") < at("a"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 4);
    }

    #[test]
    fn nothing_measured_draws_nothing() {
        let panel = Panel { title: "s".to_owned(), least: 0.1, lines: vec![("a".to_owned(), vec![None])] };
        assert!(!svg(&["0".to_owned()], "changed", &[panel]).contains("<text"));
    }
}
