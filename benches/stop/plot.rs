//! The plot of how cost grows with the number of runs: an SVG of a few small panels.
//!
//! Plain shapes and text, so that it needs no library, and so that a new run changes few lines of it. It brings its own
//! background, since it may be shown on a dark page.

use std::fmt::Write;

use crate::report::{Figure, Report, Summary};
use crate::units::grouped;

/// A panel: its title, and its figures by scenario and name, the floor of the first beside them.
struct Panel {
    title: &'static str,
    /// The axis is for values that span decades.
    logarithmic: bool,
    lines: &'static [Line],
}

struct Line {
    scenario: &'static str,
    what: &'static str,
    label: &'static str,
    /// Take the floor's samples instead.
    floor: bool,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "CPU a stop, µs",
        logarithmic: false,
        lines: &[
            ours("burst", "CPU a stop, beside the bare write loop", "operator"),
            floor("burst", "CPU a stop, beside the bare write loop", "bare write loop"),
            floor("burst", "CPU a stop, beside watch and write", "bare watch and write"),
        ],
    },
    Panel {
        title: "Start to last status, s",
        logarithmic: true,
        lines: &[
            ours("restart", "start to last status", "operator"),
            floor("restart", "start to last status", "bare list and write loop"),
        ],
    },
    Panel {
        title: "Start to ready, s",
        logarithmic: true,
        lines: &[
            ours("start", "start to ready, beside a bare list", "operator"),
            floor("start", "start to ready, beside a bare list", "bare list"),
        ],
    },
    Panel {
        title: "Resident memory, MiB",
        logarithmic: false,
        lines: &[
            ours("start", "memory, idle", "all runs settled"),
            ours("restart", "memory, peak with all runs being stopped", "all runs being stopped, peak"),
        ],
    },
];

const COLOURS: [&str; 3] = ["#1f6feb", "#bc4c00", "#57606a"];
/// The size of a panel.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = HEIGHT - 40.0;

const fn ours(scenario: &'static str, what: &'static str, label: &'static str) -> Line {
    Line { scenario, what, label, floor: false }
}

const fn floor(scenario: &'static str, what: &'static str, label: &'static str) -> Line {
    Line { floor: true, ..ours(scenario, what, label) }
}

/// How values become places.
struct Axes {
    /// Always logarithmic.
    runs: (f64, f64),
    /// Their logarithms if so.
    values: (f64, f64),
    logarithmic: bool,
}

/// The whole picture.
pub fn svg(report: &Report) -> String {
    let (width, height) = (WIDTH * 2.0, HEIGHT * 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\" fill=\"#1f2328\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, panel) in PANELS.iter().enumerate() {
        let (x, y) = ((number % 2) as f64 * WIDTH, (number / 2) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(&mut svg, panel, report);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, report: &Report) {
    let title = panel.title;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"20\" font-size=\"13\" font-weight=\"bold\">{title}</text>");
    let lines: Vec<_> = panel.lines.iter().map(|line| (line, points(line, report))).collect();
    let all: Vec<_> = lines.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    let Some(axes) = Axes::around(&all, panel.logarithmic) else { return };
    let mut sizes: Vec<_> = all.iter().map(|point| point.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    axes.draw(svg, &sizes);
    for (number, ((line, points), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let dashes = if line.floor { " stroke-dasharray=\"5 3\"" } else { "" };
        let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}");
        let path: Vec<_> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", axes.x(*x), axes.y(*y))).collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" {stroke}/>", path.join(" "));
        for (runs, value) in points {
            let (x, y) = (axes.x(*runs), axes.y(*value));
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let (label, x, y) = (line.label, LEFT + 12.0, TOP + 14.0 + number as f64 * 15.0);
        let _ = writeln!(svg, "<path d=\"M{x},{}h24\" {stroke}/>", y - 4.0);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{label}</text>", x + 32.0);
    }
}

/// Runs and median of every figure of a line.
fn points(line: &Line, report: &Report) -> Vec<(f64, f64)> {
    let figures = report.figures.iter().filter(|f| f.scenario == line.scenario && f.what == line.what);
    let point = |figure: &Figure| {
        let summary: Option<&Summary> = if line.floor { figure.floor.as_ref() } else { Some(&figure.ours) };
        Some((figure.runs.filter(|runs| *runs > 0)? as f64, summary?.median))
    };
    figures.filter_map(point).collect()
}

// === impl Axes ===

impl Axes {
    fn around(points: &[(f64, f64)], logarithmic: bool) -> Option<Self> {
        let range = |pick: fn(&(f64, f64)) -> f64| {
            let values = points.iter().map(pick);
            Some((values.clone().reduce(f64::min)?, values.reduce(f64::max)?))
        };
        let (runs, (low, high)) = (range(|point| point.0)?, range(|point| point.1)?);
        // From zero, so that what looks twice as high is; a third of the panel stays free for the labels.
        let values = match logarithmic {
            true => (low.log10().floor(), high.log10().ceil() + 1.0),
            false => (0.0, high * 1.5),
        };
        Some(Self { runs, values, logarithmic })
    }

    fn x(&self, runs: f64) -> f64 {
        let (least, most) = (self.runs.0.log10(), self.runs.1.log10());
        // One size alone stands on the left.
        let share = if most > least { (runs.log10() - least) / (most - least) } else { 0.0 };
        LEFT + 10.0 + share * (WIDTH - LEFT - 50.0)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        let (low, high) = self.values;
        BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)
    }

    fn draw(&self, svg: &mut String, sizes: &[f64]) {
        let right = WIDTH - 20.0;
        for value in self.ticks() {
            let y = self.y(value);
            let _ = writeln!(svg, "<path d=\"M{LEFT},{y:.1}H{right}\" stroke=\"#d1d9e0\"/>");
            let (x, y) = (LEFT - 6.0, y + 4.0);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{value}</text>");
        }
        for runs in sizes {
            let (x, y, label) = (self.x(*runs), BOTTOM + 16.0, grouped(*runs as usize));
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
        }
        let (x, y) = (right, BOTTOM + 30.0);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">runs</text>");
    }

    /// Round values, about four of them.
    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        if self.logarithmic {
            return (low as i32..=high as i32).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = high / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        (0..).map(|number| f64::from(number) * step).take_while(|value| *value <= high).collect()
    }
}
