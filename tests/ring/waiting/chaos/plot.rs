//! Latency over time as an SVG: one line each for p50, p99 and the slowest, and a band for each fault.

use std::fmt::Write as _;

use super::report::Suffered;
use crate::timeline::{Spans, Timeline};

const WIDTH: f64 = 1_200.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 40.0;
/// The lowest and the highest latency that there is room for, in seconds: logarithmic between them.
const LOW: f64 = 1e-3;
const HIGH: f64 = 1e2;
const POINTS_MAX: usize = 600;
/// More would hide each other; what a band is its title says all the same.
const WORDS_MAX: usize = 45;

fn x(at: f64, end: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * (at / end).min(1.0)
}

fn y(seconds: f64) -> f64 {
    let height = (seconds.clamp(LOW, HIGH) / LOW).log10() / (HIGH / LOW).log10();
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * height
}

pub(super) fn draw(timeline: &Timeline, faults: &[Suffered], title: &str) -> String {
    let end = timeline.seconds().len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    bands(&mut svg, faults, end);
    axes(&mut svg, end);
    let group = timeline.seconds().len().div_ceil(POINTS_MAX).max(1);
    let lines = [("slowest", "#b0b0b0", 100), ("p99", "#d9772a", 99), ("p50", "#2a6fd9", 50)];
    for (number, (name, color, percent)) in lines.iter().enumerate() {
        line(&mut svg, timeline, group, color, *percent);
        let x = LEFT + 70.0 * number as f64;
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"34\" fill=\"{color}\">\u{2014} {name}</text>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Dark while it lasts, light until everything acknowledges again.
fn bands(svg: &mut String, faults: &[Suffered], end: f64) {
    for suffered in faults {
        let [begun, over, well] =
            [suffered.begun, suffered.over, suffered.well].map(|at| x(at.as_secs_f64(), end));
        let height = HEIGHT - TOP - BOTTOM;
        let _ = writeln!(svg, "<g><title>{}</title>", escaped(&suffered.to_string()));
        for (from, to, color) in [(begun, over, "#f8d3cf"), (over, well, "#fdf0ee")] {
            let width = (to - from).max(1.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{color}\"/>"
            );
        }
        if faults.len() <= WORDS_MAX {
            let (x, y) = (begun + 3.0, TOP - 4.0);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"9\" transform=\"rotate(-50 {x:.1} {y})\">{}</text>",
                suffered.fault.word()
            );
        }
        svg.push_str("</g>\n");
    }
}

fn axes(svg: &mut String, end: f64) {
    for (seconds, name) in
        [(1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "100 ms"), (1.0, "1 s"), (10.0, "10 s"), (100.0, "100 s")]
    {
        let (y, right, text) = (y(seconds), WIDTH - RIGHT, LEFT - 6.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            y + 4.0
        );
    }
    for tenth in 0..=10 {
        let at = end * f64::from(tenth) / 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}:{:02}</text>",
            x(at, end),
            HEIGHT - BOTTOM + 16.0,
            at as u64 / 60,
            at as u64 % 60
        );
    }
}

/// A line that is broken where nothing was acknowledged.
fn line(svg: &mut String, timeline: &Timeline, group: usize, color: &str, percent: u64) {
    let end = timeline.seconds().len().max(1) as f64;
    let (mut path, mut drawn) = (String::new(), false);
    for (number, seconds) in timeline.seconds().chunks(group).enumerate() {
        let mut spans = Spans::default();
        seconds.iter().for_each(|second| spans.merge(second));
        let Some(span) = spans.percentile(percent) else {
            drawn = false;
            continue;
        };
        let verb = if std::mem::replace(&mut drawn, true) { 'L' } else { 'M' };
        let at = (number as f64 + 0.5) * group as f64;
        let _ = write!(path, "{verb}{:.1} {:.1}", x(at, end), y(span.as_secs_f64()));
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.3\" stroke-linecap=\"round\"/>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
