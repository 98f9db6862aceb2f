//! The picture in `docs/monitoring.md`: the panels of the dashboard, drawn from the series of a real operator.
//!
//! ```text
//! operator --/metrics, every 5 s--> series --promtool, the dashboard's own queries--> points --> docs/monitoring.svg
//! ```
//!
//! With `UPDATE_DOCS=1` an operator serves for a quarter of an hour in which its gateway is down for a while and its
//! credential is refused for another, and the picture is drawn anew. Without it, the picture is compared with the
//! dashboard: it must have each panel with its queries, and no other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::operator::page;
use testinium_testbed::process::free_port;
use testinium_testbed::simulator::Nature;
use testinium_testbed::tools::Tool;

use crate::alerts::{dashboard, samples, scraped};
use crate::drawing::{Line, Panel, shown, svg};
use crate::render::{RELEASE, ok, repository, text};
use crate::site::Site;

/// Between two scrapes.
const INTERVAL: u64 = 5;

/// Scrapes in all: a quarter of an hour.
const SCRAPES: usize = 180;

/// Scrapes between two points of a line.
const STRIDE: usize = 3;

/// The numbers of the scrapes at which the gateway goes down and comes back, its credential is refused, and is good again.
const DOWN: usize = 48;
const UP: usize = 72;
const REFUSED: usize = 108;
const RENEWED: usize = 132;

#[test]
fn the_picture_has_the_panels_and_queries_of_the_dashboard() {
    let file = repository("docs/monitoring.svg");
    let dashboard = dashboard();
    let panels: Vec<&Value> = dashboard["panels"].as_array().into_iter().flatten().collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let picture = svg(&drawn(&panels, &recorded(), directory.path()));
        std::fs::write(&file, picture).expect("the picture can be written");
    }
    let expected: Vec<(String, String)> =
        panels.iter().map(|panel| (title(panel), queries(panel).join("\n"))).collect();
    assert!(expected.len() > 5, "{expected:?}");
    let picture = std::fs::read_to_string(&file).expect("the picture is there");
    assert_eq!(shown(&picture), expected, "UPDATE_DOCS=1 cargo test --test chart picture would draw it anew");
}

fn title(panel: &Value) -> String {
    text(&panel["title"]).to_owned()
}

fn queries(panel: &Value) -> Vec<&str> {
    panel["targets"].as_array().into_iter().flatten().map(|target| text(&target["expr"])).collect()
}

// === the series ===

/// Each series with its values, from scrape to scrape.
type Series = BTreeMap<String, Vec<String>>;

fn recorded() -> Series {
    let site = Site::start();
    let port = ok(free_port());
    site.install(RELEASE, &["--set", &format!("extraArgs={{--metrics-bind-address=127.0.0.1:{port}}}")]);
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("first", 1);
    site.wait_for_stop("first");
    let (begun, mut series) = (Instant::now(), Series::new());
    for scrape in 0..SCRAPES {
        happen(&site, scrape);
        std::thread::sleep(Duration::from_secs(INTERVAL * scrape as u64).saturating_sub(begun.elapsed()));
        let (_, served) = page(port, "/metrics").expect("the metrics are served");
        for (name, value) in samples(&served) {
            series.entry(name).or_default().push(value);
        }
    }
    assert!(series.values().all(|values| values.len() == SCRAPES), "every series is there from the start");
    series
}

/// A run is stopped between two scrapes, now and then one with a plan that is not there. Then things go wrong.
fn happen(site: &Site, scrape: usize) {
    let plan = 10 * (scrape as i64 + 1);
    if scrape.is_multiple_of(7) {
        site.simulator.plan(plan + 1, Nature::Unknown);
    }
    site.ask_for_all(&format!("run-{scrape}"), &[plan, plan + 1, plan + 2]);
    match scrape {
        DOWN => site.simulator.down().expect("it goes down"),
        UP => site.simulator.up().expect("it comes up"),
        REFUSED => site.simulator.set_token("another-token"),
        RENEWED => site.simulator.set_token("simulated-token"),
        _ => {}
    }
}

// === what the queries find in them ===

/// The panels with what Prometheus finds for their queries.
fn drawn(panels: &[&Value], series: &Series, directory: &Path) -> Vec<Panel> {
    let all: Vec<&str> = panels.iter().flat_map(|panel| queries(panel)).collect();
    let found = found(&all, series, directory);
    let of_panel = |panel: &&Value| Panel {
        title: title(panel),
        unit: text(&panel["fieldConfig"]["defaults"]["unit"]).to_owned(),
        queries: queries(panel).join("\n"),
        lines: panel["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|target| lines(target, &found))
            .collect(),
    };
    panels.iter().map(of_panel).collect()
}

/// What is found for each query: by the labels, points of minutes and values.
type Found = BTreeMap<String, BTreeMap<String, Vec<(f64, f64)>>>;

fn lines(target: &Value, found: &Found) -> Vec<Line> {
    let name = |labels: &str| {
        let value = labels.split('"').nth(1).unwrap_or_default();
        let legend = text(&target["legendFormat"]);
        match legend.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?.1))) {
            Some((before, after)) => format!("{before}{value}{after}"),
            None => legend.to_owned(),
        }
    };
    let of_query = found.get(text(&target["expr"])).into_iter().flatten();
    of_query.map(|(labels, points)| Line { name: name(labels), points: points.clone() }).collect()
}

/// Asks promtool: it has no command that evaluates a query over series of a file, but its tests say what a query has
/// found where nothing was expected.
fn found(queries: &[&str], series: &Series, directory: &Path) -> Found {
    let times: Vec<u64> = (0..SCRAPES).step_by(STRIDE).map(|scrape| scrape as u64 * INTERVAL).collect();
    let test = |query: &&str| -> Vec<Value> {
        times
            .iter()
            .map(|time| json!({"expr": query, "eval_time": format!("{time}s"), "exp_samples": []}))
            .collect()
    };
    let input: Vec<_> = series
        .iter()
        .map(|(name, values)| json!({"series": scraped(name), "values": values.join(" ")}))
        .collect();
    let tests = json!({
        "rule_files": [], "evaluation_interval": format!("{INTERVAL}s"),
        "tests": [{
            "interval": format!("{INTERVAL}s"), "input_series": input,
            "promql_expr_test": queries.iter().flat_map(test).collect::<Vec<_>>(),
        }],
    });
    std::fs::write(directory.join("tests.yaml"), tests.to_string()).expect("it can be written");
    let output = ok(Tool::Promtool.run(directory, &["test", "rules", "tests.yaml"]));
    let said = format!("{}\n{}", output.stdout, output.stderr);
    let mut found = Found::new();
    for one in said.split("    expr: ").skip(1) {
        let (head, rest) = one.split_once("\n").expect("a result has lines");
        let (query, time) = head.split_once(", time: ").expect("a result has a time");
        let query: String = serde_json::from_str(query).expect("a query is quoted");
        let minutes = minutes(time.trim_end_matches(','));
        let got =
            rest.lines().find_map(|line| line.trim().strip_prefix("got:")).expect("a result has samples");
        for (labels, value) in samples_of(got.trim()) {
            found.entry(query.clone()).or_default().entry(labels).or_default().push((minutes, value));
        }
    }
    assert!(found.len() > queries.len() / 2, "{said}");
    found
}

/// The samples that promtool prints, such as `{a="b"} 1E+00, {a="c"} 2E+00`. What is no number is left out.
fn samples_of(text: &str) -> Vec<(String, f64)> {
    let each = text.split(", {").map(|sample| sample.trim_start_matches('{'));
    let pair = |sample: &str| {
        let (labels, value) = sample.rsplit_once("} ")?;
        Some((labels.to_owned(), value.parse().ok().filter(|value: &f64| value.is_finite())?))
    };
    each.filter_map(pair).collect()
}

/// A time as promtool prints it, such as `1m30s`.
fn minutes(text: &str) -> f64 {
    let (minutes, seconds) = text.split_once('m').unwrap_or(("0", text));
    let number = |text: &str| text.trim_end_matches('s').parse::<f64>().unwrap_or(0.0);
    number(minutes) + number(seconds) / 60.0
}

#[test]
fn what_promtool_prints_is_read() {
    let printed = samples_of(r#"{reason="Suspended"} 1E+00, {reason="Forbidden"} 2.5E+00, {reason="x"} NaN"#);
    assert_eq!(
        printed,
        [(r#"reason="Suspended""#.to_owned(), 1.0), (r#"reason="Forbidden""#.to_owned(), 2.5)]
    );
    assert_eq!(samples_of("{} 3E+01"), [(String::new(), 30.0)]);
    assert_eq!(samples_of("nil"), []);
    assert_eq!(["0s", "45s", "1m30s", "14m0s"].map(minutes), [0.0, 0.75, 1.5, 14.0]);
}
