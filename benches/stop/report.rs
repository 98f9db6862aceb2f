//! The figures: summaries of samples, each beside its floor, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::host::Host;
use crate::units::{Unit, grouped, number};

/// A figure: what was measured, in which unit, and what the same costs at least.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub scenario: &'static str,
    pub what: &'static str,
    pub unit: Unit,
    /// How many runs took part, where it matters.
    pub runs: Option<usize>,
    pub ours: Summary,
    pub floor: Option<Summary>,
    /// Median by median.
    pub ratio: Option<f64>,
}

/// Samples in short.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub samples: usize,
    pub median: f64,
    /// Only of samples that are many enough to have one.
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub min: f64,
    pub max: f64,
}

/// All figures, in the order in which they were measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub host: Host,
    pub figures: Vec<Figure>,
}

// === impl Summary ===

impl Summary {
    /// The summary; none if there are no samples.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        let count = samples.len();
        // The nearest rank: a value that was seen, not one between two.
        let rank = |share: usize| samples[(count * share).div_ceil(100).max(1) - 1];
        Some(Self {
            samples: count,
            median: rank(50),
            p90: (count >= 20).then(|| rank(90)),
            p99: (count >= 100).then(|| rank(99)),
            min,
            max,
        })
    }
}

// === impl Report ===

impl Report {
    pub fn new(host: Host) -> Self {
        Self { host, figures: Vec::new() }
    }

    /// Adds a figure, and tells it. Of what could not be measured there are no samples, and no figure.
    pub fn add(
        &mut self,
        scenario: &'static str,
        what: &'static str,
        unit: Unit,
        runs: Option<usize>,
        (ours, floor): (Vec<f64>, Vec<f64>),
    ) {
        let Some(ours) = Summary::of(ours) else { return };
        let floor = Summary::of(floor);
        let ratio = floor.as_ref().filter(|floor| floor.median > 0.0).map(|floor| ours.median / floor.median);
        let figure = Figure { scenario, what, unit, runs, ours, floor, ratio };
        eprintln!("{}", figure.row().join("  "));
        self.figures.push(figure);
    }

    /// The figures as a table in Markdown, its columns aligned for those who read it as it is.
    pub fn table(&self) -> String {
        let header = ["scenario", "figure", "runs", "median", "p90", "p99", "floor", "floor p90", "ratio"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.figures.iter().map(Figure::row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..header.len()).map(width).collect();
        let mut table = String::new();
        for (number, row) in rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Numbers to the right.
                let _ = match column {
                    0 | 1 => write!(table, "| {cell:<width$} "),
                    _ => write!(table, "| {cell:>width$} "),
                };
            }
            table.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let end = if column < 2 { "-" } else { ":" };
                    let _ = write!(table, "|{}{end}", "-".repeat(width + 1));
                }
                table.push_str("|\n");
            }
        }
        table
    }
}

// === impl Figure ===

impl Figure {
    fn row(&self) -> [String; 9] {
        let unit = self.unit.name();
        let what = if unit.is_empty() { self.what.to_owned() } else { format!("{}, {unit}", self.what) };
        let of = |summary: Option<&Summary>, pick: fn(&Summary) -> Option<f64>| {
            summary.and_then(pick).map(number).unwrap_or_default()
        };
        let (ours, floor) = (Some(&self.ours), self.floor.as_ref());
        [
            self.scenario.to_owned(),
            what,
            self.runs.map(grouped).unwrap_or_default(),
            of(ours, |summary| Some(summary.median)),
            of(ours, |summary| summary.p90),
            of(ours, |summary| summary.p99),
            of(floor, |summary| Some(summary.median)),
            of(floor, |summary| summary.p90),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        ]
    }
}
