//! docs/metrics.md compared with the metrics that are served, in both directions.

use std::collections::BTreeSet;

use super::Metrics;

const PAGE: &str = include_str!("../../docs/metrics.md");

/// The facts about metrics that both sides state, each as a line.
type Facts = BTreeSet<String>;

#[test]
fn the_page_describes_exactly_the_metrics_that_are_served() {
    let served = served();
    assert!(served.len() > 40, "{served:#?}");
    let differences = differences(PAGE, &served);
    assert!(differences.is_empty(), "docs/metrics.md:\n{}", differences.join("\n"));
}

#[test]
fn every_difference_is_found() {
    let served = served();
    for (right, wrong, count) in [
        ("| `testinium_leader` |", "| `testinium_leads` |", 2),
        ("| `testinium_tasks` | gauge |", "| `testinium_tasks` | counter |", 2),
        ("call_duration_seconds` | histogram | seconds |", "call_duration_seconds` | histogram | |", 2),
        ("| counter | | `outcome` |", "| counter | | `result` |", 2),
        ("Panics that cost one run or one request and not the process.", "Panics.", 2),
        ("| | | `Withdrawn` |", "| | | `TakenBack` |", 2),
        ("`30.0`, `60.0`", "`60.0`", 1),
        ("| `kind` | `Runs` | A TestPlanRun. |", "| `sort` | `Runs` | A TestPlanRun. |", 6),
    ] {
        assert_eq!(PAGE.matches(right).count(), 1, "{right}");
        let found = differences(&PAGE.replace(right, wrong), &served);
        assert_eq!(found.len(), count, "{wrong}: {found:#?}");
    }
    let row = PAGE.lines().find(|line| line.contains("`Tls`")).expect("the page has this row");
    assert_eq!(differences(&PAGE.replace(row, ""), &served).len(), 1, "a row that is missing");
}

fn differences(page: &str, served: &Facts) -> Vec<String> {
    let described = described(page);
    let missing = served.difference(&described).map(|fact| format!("missing: {fact}"));
    let wrong = described.difference(served).map(|fact| format!("not served: {fact}"));
    missing.chain(wrong).collect()
}

fn metric(name: &str, type_: &str, unit: &str, label: &str, meaning: &str) -> String {
    format!("{name}, type '{type_}', unit '{unit}', label '{label}': {meaning}")
}

fn value(name: &str, label: &str, value: &str) -> String {
    format!("{name}{{{label}=\"{value}\"}}")
}

/// The facts in the tables of the page. A cell left empty in the table of values is that of the row above.
fn described(page: &str) -> Facts {
    let mut facts = Facts::new();
    let (mut name, mut label) = ("", "");
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        match cells[..] {
            ["metric", ..] => {}
            [name, type_, unit, label, meaning, _question] => {
                facts.insert(metric(name, type_, unit, label, meaning));
            }
            [a_name, a_label, values, _meaning] => {
                if !a_name.is_empty() {
                    (name, label) = (a_name, a_label);
                }
                facts.extend(values.split("`, `").map(|a_value| value(name, label, a_value)));
            }
            _ => panic!("a row of neither table: {row}"),
        }
    }
    facts
}

/// The facts in the text that is served: the descriptions of each metric come before its series.
fn served() -> Facts {
    let text = Metrics::default().encode().expect("metrics can be encoded");
    let mut facts = Facts::new();
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, meaning] => families.push(Family { name, meaning, ..Family::default() }),
            ["#", "TYPE", _, type_] => families.last_mut().expect("HELP comes first").type_ = type_,
            ["#", "UNIT", _, unit] => families.last_mut().expect("HELP comes first").unit = unit,
            ["#", "EOF"] => {}
            [series, _number] => {
                let family = families.last_mut().expect("HELP comes first");
                let labels = series.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}'));
                if let Some((label, quoted)) = labels.and_then(|labels| labels.split_once('=')) {
                    family.label = label;
                    facts.insert(value(&family.exposed_name(), label, quoted.trim_matches('"')));
                }
            }
            _ => panic!("unknown line: {line}"),
        }
    }
    facts.extend(families.iter().map(|family| {
        let Family { type_, unit, label, meaning, .. } = family;
        metric(&family.exposed_name(), type_, unit, label, meaning)
    }));
    facts
}

#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    type_: &'a str,
    unit: &'a str,
    label: &'a str,
    meaning: &'a str,
}

impl Family<'_> {
    /// The name as Prometheus shows it.
    fn exposed_name(&self) -> String {
        let suffix = if self.type_ == "counter" { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }
}
