//! Lines on stdout for the person, or the log of the Job, that runs the command.

use std::io::{self, Write};

/// Says what was done. Whoever reads it may have gone: that stops nothing.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
