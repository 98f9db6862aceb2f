//! The part of docs/internals/performance.md that a run writes, between two marks.

use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::plot;
use crate::report::Report;

const BEGIN: &str = "<!-- figures: written by cargo bench --bench stop -- --docs -->\n";
const END: &str = "<!-- end of figures -->";
const PLOT: &str = "![How cost grows with the number of runs](performance.svg)";

/// Puts the figures and the plot in the place of the earlier ones.
pub fn write(report: &Report) -> Result<(), Failure> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/internals");
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page)?;
    let marks = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks.ok_or("docs/internals/performance.md has lost the marks of its figures")?;
    let table = format!("{before}{BEGIN}\n{}\n\n{}\n{PLOT}\n{END}{after}", report.host, report.table());
    fs::write(&page, table)?;
    fs::write(docs.join("performance.svg"), plot::svg(report))?;
    Ok(())
}
