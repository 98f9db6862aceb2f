//! Panels of lines as an SVG: plain shapes and text, so that it needs no library. It brings its own background, since it
//! may be shown on a dark page.

use std::fmt::Write;

/// A panel of a dashboard.
pub(crate) struct Panel {
    pub(crate) title: String,
    /// As Grafana names it.
    pub(crate) unit: String,
    /// A line each.
    pub(crate) queries: String,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: String,
    /// Minutes and values.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Panels side by side.
const COLUMNS: usize = 3;
/// The size of a panel.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = HEIGHT - 108.0;
const COLOURS: [&str; 6] = ["#1f6feb", "#bc4c00", "#1a7f37", "#8250df", "#57606a", "#bf3989"];
/// The end of the axis, in minutes.
const MINUTES: f64 = 15.0;
/// Points that are further apart have nothing between them.
const GAP: f64 = 0.6;

pub(crate) fn svg(panels: &[Panel]) -> String {
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * panels.len().div_ceil(COLUMNS) as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"10\" fill=\"#1f2328\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let (x, y) = ((number % COLUMNS) as f64 * WIDTH, (number / COLUMNS) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The title and the queries of each panel of a picture.
pub(crate) fn shown(svg: &str) -> Vec<(String, String)> {
    let tag = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(unescaped(rest.split_once(&format!("</{name}>"))?.0))
    };
    svg.split("<g ").skip(1).filter_map(|panel| Some((tag(panel, "title")?, tag(panel, "desc")?))).collect()
}

fn draw(svg: &mut String, panel: &Panel) {
    let (title, queries) = (escaped(&panel.title), escaped(&panel.queries));
    let _ = writeln!(svg, "<title>{title}</title>\n<desc>{queries}</desc>");
    let _ = writeln!(svg, "<text x=\"10\" y=\"18\" font-size=\"12\" font-weight=\"bold\">{title}</text>");
    let highest = panel.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let step = step(highest);
    let ceiling = (highest / step).ceil().max(1.0) * step;
    let (x_of, y_of) = (
        |minutes: f64| LEFT + minutes / MINUTES * (RIGHT - LEFT),
        |value: f64| BOTTOM - value / ceiling * (BOTTOM - TOP),
    );
    for value in (0..).map(|number| f64::from(number) * step).take_while(|value| *value <= ceiling * 1.001) {
        let (y, label) = (y_of(value), (value * 1000.0).round() / 1000.0);
        let _ = writeln!(svg, "<path d=\"M{LEFT},{y:.1}H{RIGHT}\" stroke=\"#d1d9e0\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 5.0,
            y + 3.0
        );
    }
    for minutes in [0.0, 5.0, 10.0, 15.0] {
        let (x, y) = (x_of(minutes), BOTTOM + 13.0);
        let anchor = if minutes < MINUTES { "middle" } else { "end" };
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{minutes} min</text>");
    }
    let unit = match panel.unit.as_str() {
        "s" => "seconds",
        "reqps" => "calls a second",
        _ => "",
    };
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#57606a\">{unit}</text>", TOP - 6.0);
    for (number, (line, colour)) in told(&panel.lines).iter().zip(COLOURS.iter().cycle()).enumerate() {
        let mut path = String::new();
        let mut before = f64::NEG_INFINITY;
        for (minutes, value) in &line.points {
            let letter = if minutes - before > GAP { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1},{:.1}", x_of(*minutes), y_of(*value));
            before = *minutes;
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
        let (x, y) = (LEFT, BOTTOM + 30.0 + number as f64 * 13.0);
        let _ = writeln!(svg, "<path d=\"M{x},{}h12\" stroke=\"{colour}\" stroke-width=\"2\"/>", y - 3.0);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{}</text>", x + 16.0, escaped(&line.name));
    }
}

/// The lines that say something: of many values of a label most stay at zero. All of them, if all do.
fn told(lines: &[Line]) -> Vec<&Line> {
    let says = |line: &&Line| line.points.iter().any(|(_, value)| *value != 0.0);
    match lines.iter().any(|line| says(&line)) {
        true => lines.iter().filter(says).collect(),
        false => lines.iter().collect(),
    }
}

/// A round step of about a quarter of the highest value.
fn step(highest: f64) -> f64 {
    let rough = if highest > 0.0 { highest / 4.0 } else { 0.25 };
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn a_picture_tells_its_panels() {
    let panel = |title: &str| Panel {
        title: title.to_owned(),
        unit: String::new(),
        queries: "a > 0\nb{c='d'}".to_owned(),
        lines: vec![
            Line { name: "none".to_owned(), points: vec![(0.0, 0.0)] },
            Line { name: "x".to_owned(), points: vec![(0.0, 1.0), (0.5, 2.0), (3.0, 0.0)] },
        ],
    };
    let drawn = svg(&[panel("One & two"), panel("Three")]);
    let queries = "a > 0\nb{c='d'}".to_owned();
    assert_eq!(shown(&drawn), [("One & two".to_owned(), queries.clone()), ("Three".to_owned(), queries)]);
    assert_eq!(drawn.matches(" fill=\"none\"").count(), 2, "a line each, and none at zero");
    assert_eq!(["M40.0,", "L49.", "M95."].map(|part| drawn.matches(part).count()), [2, 2, 2], "{drawn}");
}
