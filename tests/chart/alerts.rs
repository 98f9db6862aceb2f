//! The alerts and the dashboard, judged by promtool over the series that a real operator serves.
//!
//! The series of an operator at rest raise no alert. Each alert has a change of one of them that raises it: so a metric,
//! a label or a value that the operator does not serve is found, and so is an alert that could never be raised.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::process::free_port;
use testinium_testbed::tools::Tool;

use crate::render::{RELEASE, ok, only, rendered, repository, text};
use crate::site::{SOON, Site};

/// An alert, a served series, how it goes on from one minute to the next instead, and what the alert tells by labels.
type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ALERTS: &[Row] = &[
    ("TestiniumStopNotDelivered", "testinium_oldest_stop_seconds", "0+60x30", &[]),
    ("TestiniumNobodyActs", "testinium_leader", "0x30", &[]),
    (
        "TestiniumRunsWait",
        r#"testinium_runs_waiting{reason="Suspended"}"#,
        "1x30",
        &[("reason", "Suspended")],
    ),
    ("TestiniumCredentialRefused", r#"testinium_runs_waiting{reason="Forbidden"}"#, "1x30", &[]),
    ("TestiniumStopsFail", r#"testinium_stops_ended_total{end="StopFailed"}"#, "0+1x30", &[]),
    ("TestiniumStopsAreSlow", r#"testinium_stop_duration_seconds_bucket{le="+Inf"}"#, "0+1x30", &[]),
    ("TestiniumStatusRefused", r#"testinium_status_writes_total{result="Refused"}"#, "0+1x30", &[]),
    ("TestiniumLeaseInDanger", "testinium_lease_failures_total", "0+2x30", &[]),
    ("TestiniumWatchesBreak", r#"testinium_watch_restarts_total{kind="Runs"}"#, "0+2x30", &[]),
    ("TestiniumEventsMissing", "testinium_events_dropped_total", "0+1x30", &[]),
    ("TestiniumNoRoomForRuns", "testinium_runs_set_aside", "5x30", &[]),
    ("TestiniumBug", "testinium_panics_contained_total", "0+1x30", &[]),
];

/// A served series, such as `a{b="c"}`, and its value.
pub(crate) type Sample = (String, String);

/// What an operator serves that has stopped a run and rests.
fn served() -> &'static [Sample] {
    static SERVED: OnceLock<Vec<Sample>> = OnceLock::new();
    SERVED.get_or_init(serve)
}

fn serve() -> Vec<Sample> {
    let site = Site::start();
    let port = ok(free_port());
    site.install(RELEASE, &["--set", &format!("extraArgs={{--metrics-bind-address=127.0.0.1:{port}}}")]);
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("one", 614);
    site.wait_for_stop("one");
    let text = wait_until("an operator at rest", SOON, || {
        let (_, text) = page(port, "/metrics").map_err(|error| error.to_string())?;
        let rests = ["testinium_leader 1", "testinium_runs_active 0", "testinium_oldest_stop_seconds 0"];
        let is_line = |rest: &&str| text.lines().any(|line| line.trim_end_matches(".0") == *rest);
        if rests.iter().all(is_line) { Ok(text.clone()) } else { Err(text) }
    });
    let samples = samples(&ok(text));
    assert!(samples.len() > 60, "{samples:?}");
    samples
}

/// The series of a page of metrics.
pub(crate) fn samples(text: &str) -> Vec<Sample> {
    let series = text.lines().filter(|line| line.starts_with("testinium_"));
    let pairs = series.filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(series, value)| (series.to_owned(), value.to_owned())).collect()
}

/// The same series as Prometheus has it, by either kind of monitor. The pod's name is as Kubernetes makes it.
pub(crate) fn scraped(series: &str) -> String {
    let of_pod = r#"namespace="testinium-system",pod="testinium-operator-7c9d8b6f54-x2x7k""#;
    match series.split_once('{') {
        Some((name, labels)) => format!("{name}{{{of_pod},{labels}"),
        None => format!("{series}{{{of_pod}}}"),
    }
}

/// The series as promtool takes them; each goes on as `values` says.
fn input(samples: &[Sample], values: impl Fn(&Sample) -> String) -> Value {
    let series = samples.iter().map(|sample| json!({"series": scraped(&sample.0), "values": values(sample)}));
    series.collect()
}

fn constant((_, value): &Sample) -> String {
    format!("{value}x30")
}

/// Has promtool run these tests over these rules.
#[track_caller]
fn judge(directory: &Path, rules: &Value, tests: &[Value]) {
    let write = |name: &str, value: &Value| {
        fs::write(directory.join(name), value.to_string()).expect("it can be written")
    };
    write("rules.yaml", &json!({"groups": [{"name": "rules", "rules": rules}]}));
    let checked =
        ok(Tool::Promtool.run(directory, &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]));
    assert!(checked.status.success(), "{checked:?}");
    write("tests.yaml", &json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}));
    let tested = ok(Tool::Promtool.run(directory, &["test", "rules", "tests.yaml"]));
    assert!(tested.status.success(), "{}\n{}", tested.stdout, tested.stderr);
}

#[test]
fn each_alert_is_raised_by_what_it_is_about_and_by_nothing_at_rest() {
    let samples = served();
    let all = rendered(&[
        "prometheusRule.enabled=true",
        r#"prometheusRule.alertLabels={"team":"platform","severity":"none"}"#,
    ]);
    let rules = &only(&all, "PrometheusRule")["spec"]["groups"][0]["rules"];
    let names: Vec<_> = rules.as_array().into_iter().flatten().map(|rule| text(&rule["alert"])).collect();
    assert_eq!(names, ALERTS.iter().map(|(alert, ..)| *alert).collect::<Vec<_>>());
    let expect =
        |alert: &str, raised: &Value| json!({"eval_time": "20m", "alertname": alert, "exp_alerts": raised});
    let quiet: Vec<_> = names.iter().map(|name| expect(name, &json!([]))).collect();
    let mut tests =
        vec![json!({"interval": "1m", "input_series": input(samples, constant), "alert_rule_test": quiet})];
    for ((alert, changed, values, labels), rule) in ALERTS.iter().zip(rules.as_array().into_iter().flatten())
    {
        assert_eq!(
            samples.iter().filter(|(series, _)| series == changed).count(),
            1,
            "{changed} is not served once"
        );
        let series =
            input(
                samples,
                |sample| if sample.0 == *changed { (*values).to_owned() } else { constant(sample) },
            );
        // An alert's own severity wins over that of the values: whoever is called at night depends on it.
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{rule}");
        let mut told = json!({"team": "platform", "severity": severity});
        for (label, value) in *labels {
            told[label] = json!(value);
        }
        let raised = json!([{"exp_labels": told, "exp_annotations": rule["annotations"]}]);
        tests.push(
            json!({"interval": "1m", "input_series": series, "alert_rule_test": [expect(alert, &raised)]}),
        );
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    judge(directory.path(), rules, &tests);

    // Nothing of another release's operator counts.
    let elsewhere: Vec<Sample> =
        samples.iter().map(|(series, _)| (series.clone(), "0+100".to_owned())).collect();
    let mut others = input(&elsewhere, constant);
    for series in others.as_array_mut().into_iter().flatten() {
        series["series"] =
            json!(text(&series["series"]).replace("testinium-operator-7c", "shard-b-operator-7c"));
    }
    let both = [input(samples, constant), others]
        .iter()
        .flat_map(|all| all.as_array().cloned())
        .flatten()
        .collect::<Value>();
    let quiet: Vec<_> = names.iter().map(|name| expect(name, &json!([]))).collect();
    judge(
        directory.path(),
        rules,
        &[json!({"interval": "1m", "input_series": both, "alert_rule_test": quiet})],
    );
}

/// The dashboard as it is installed.
pub(crate) fn dashboard() -> Value {
    let all = rendered(&["dashboard.enabled=true"]);
    let file = text(&only(&all, "ConfigMap")["data"]["testinium-operator.json"]);
    serde_json::from_str(file).expect("Grafana reads JSON")
}

#[test]
fn every_query_of_the_dashboard_finds_something_once_something_happens() {
    let samples = served();
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        assert!(!text(&panel["description"]).is_empty(), "{} has no description", panel["title"]);
        queries.extend(panel["targets"].as_array().into_iter().flatten().map(|target| text(&target["expr"])));
    }
    assert!(queries.len() > 10, "{queries:?}");
    // An alert is raised if its query finds anything; NaN is nothing.
    let names: Vec<_> = (0..queries.len()).map(|index| format!("Query{index}")).collect();
    let rules: Value = names
        .iter()
        .zip(&queries)
        .map(|(name, query)| json!({"alert": name, "expr": format!("count(({query}) >= 0) > 0")}))
        .collect();
    let expect =
        |name: &String, raised: Value| json!({"eval_time": "20m", "alertname": name, "exp_alerts": raised});
    let found = names.iter().map(|name| expect(name, json!([{"exp_labels": {}}]))).collect::<Vec<_>>();
    let nothing = names.iter().map(|name| expect(name, json!([]))).collect::<Vec<_>>();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let busy = json!({
        "interval": "1m", "input_series": input(samples, |_| "1+1x30".to_owned()), "alert_rule_test": found,
    });
    // So that it is known that a query without series finds nothing.
    let empty = json!({"interval": "1m", "input_series": [], "alert_rule_test": nothing});
    judge(directory.path(), &rules, &[busy, empty]);
}

/// The lines of the page on monitoring that tell of an alert: its name, and how it is raised.
fn told(page: &str) -> Vec<(String, String)> {
    let alerts = page.split("\n### ").skip(1);
    let pair = |alert: &str| {
        let mut lines = alert.lines().filter(|line| !line.is_empty());
        Some((lines.next()?.to_owned(), lines.next()?.to_owned()))
    };
    alerts.filter_map(pair).collect()
}

/// A query as somebody writes it who has one release.
fn of_all_pods(query: &str) -> String {
    let pods = r#"namespace="testinium-system",pod=~"testinium-operator-[0-9a-z]+-[0-9a-z]+""#;
    query.trim().replace(&format!("{{ {pods} }}"), "").replace(&format!("{{ {pods},"), "{")
}

#[test]
fn the_page_on_monitoring_has_each_alert_and_each_panel_as_they_are_installed() {
    let page = fs::read_to_string(repository("docs/monitoring.md")).expect("the page is there");
    let all = rendered(&["prometheusRule.enabled=true"]);
    let rules = only(&all, "PrometheusRule")["spec"]["groups"][0]["rules"].as_array().cloned();
    let line = |rule: &Value| {
        let after = rule["for"].as_str().map_or("at once".to_owned(), |time| format!("after {time}"));
        let (severity, query) = (text(&rule["labels"]["severity"]), of_all_pods(text(&rule["expr"])));
        (text(&rule["alert"]).to_owned(), format!("{severity}, {after}: `{query}`"))
    };
    assert_eq!(told(&page), rules.iter().flatten().map(line).collect::<Vec<_>>());

    let (_, rows) = page.split_once("\n## The dashboard\n").expect("the page has this part");
    let rows: Vec<_> =
        rows.lines().filter(|line| line.starts_with("| ")).skip(1).map(str::to_owned).collect();
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let row = |panel: &Value| format!("| {} | {} |", text(&panel["title"]), text(&panel["description"]));
    assert_eq!(rows, panels.map(row).collect::<Vec<_>>());
}
