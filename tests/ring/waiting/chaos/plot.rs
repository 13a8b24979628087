//! Latency over time as an SVG: one line each for p50, p99 and the slowest, and a band for each fault.

use std::fmt::Write as _;

use super::report::Suffered;
use crate::timeline::{Spans, Timeline};

const WIDTH: f64 = 1_200.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 110.0;
const BOTTOM: f64 = 40.0;
/// How high what says which faults were there at once is, for each of those.
const LANE: f64 = 7.0;
const LANE_COLORS: [&str; 3] = ["#a8322a", "#4d3fa8", "#1f7a4d"];
/// The lowest and the highest latency that there is room for, in seconds: logarithmic between them.
const LOW: f64 = 1e-3;
const HIGH: f64 = 1e2;
const POINTS_MAX: usize = 600;
/// More would hide each other; what a band is its title says all the same.
const WORDS_MAX: usize = 60;
/// From one to the next.
const WORD_WIDTH: f64 = 11.0;

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

/// Dark while it lasts, darker where another one does too, light until everything acknowledges again. Above that a lane
/// for each that overlaps, so that one sees which is which.
fn bands(svg: &mut String, faults: &[Suffered], end: f64) {
    // Those of a bout say the same of its end.
    for suffered in faults.chunk_by(|one, next| one.bout == next.bout).map(|bout| &bout[0]) {
        let (healed, well) = (suffered.healed.as_secs_f64(), suffered.well.as_secs_f64());
        rectangle(svg, [x(healed, end), x(well, end)], [TOP, HEIGHT - BOTTOM], "#fdf0ee", 1.0);
    }
    let lanes = lanes(faults);
    let above = TOP - LANE * lanes.iter().max().map_or(0.0, |lane| (lane + 1) as f64) - 4.0;
    let mut word_at = 0.0_f64;
    for (suffered, lane) in faults.iter().zip(lanes) {
        let across = [suffered.begun, suffered.over].map(|at| x(at.as_secs_f64(), end));
        let color = LANE_COLORS[lane % LANE_COLORS.len()];
        let _ = writeln!(svg, "<g><title>{}</title>", escaped(&suffered.to_string()));
        rectangle(svg, across, [TOP, HEIGHT - BOTTOM], "#e2574c", 0.25);
        let top = TOP - LANE * (lane + 1) as f64;
        rectangle(svg, across, [top + 1.0, top + LANE - 1.0], color, 1.0);
        if faults.len() <= WORDS_MAX {
            // Beside the word before it, also where they begin at the same time.
            word_at = (across[0] + 3.0).max(word_at + WORD_WIDTH);
            let _ = writeln!(
                svg,
                "<text x=\"{word_at:.1}\" y=\"{above}\" font-size=\"9\" fill=\"{color}\" \
                 transform=\"rotate(-50 {word_at:.1} {above})\">{}</text>",
                suffered.fault.word()
            );
        }
        svg.push_str("</g>\n");
    }
}

/// For each fault the lowest lane that nobody has while it lasts.
fn lanes(faults: &[Suffered]) -> Vec<usize> {
    let mut taken: Vec<(usize, &Suffered)> = Vec::new();
    for one in faults {
        let is_free = |lane: &usize| {
            let mut others = taken.iter().filter(|(other, _)| other == lane);
            others.all(|(_, other)| one.begun >= other.over || other.begun >= one.over)
        };
        let lane = (0..).find(is_free).unwrap_or_default();
        taken.push((lane, one));
    }
    taken.into_iter().map(|(lane, _)| lane).collect()
}

fn rectangle(svg: &mut String, [left, right]: [f64; 2], [top, bottom]: [f64; 2], color: &str, opacity: f64) {
    let (width, height) = ((right - left).max(1.0), bottom - top);
    let _ = writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{color}\" \
         fill-opacity=\"{opacity}\"/>"
    );
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
