//! `promtool`, which judges alerts and queries as Prometheus does.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::go_build::{Build, Programs};
use crate::kubectl::Output;
use crate::{Error, process};

/// Runs the pinned promtool in a directory to its end, having built it if need be. A status other than zero is no error
/// here: see [`Output::success`].
pub fn run<A: AsRef<OsStr>>(directory: &Path, arguments: &[A]) -> Result<Output, Error> {
    let mut command = command(arguments)?;
    command.current_dir(directory);
    process::guard(&mut command)?;
    let output = command.stdin(Stdio::null()).output().map_err(Error::io("failed to run promtool"))?;
    let arguments: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    Ok(Output::new(output, format!("promtool {}", arguments.join(" "))))
}

/// The pinned promtool with these arguments, for a person.
pub fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Command, Error> {
    let mut command = Command::new(PROGRAMS.obtain()?.join(PROMTOOL));
    command.args(arguments);
    Ok(command)
}

const PROMTOOL: &str = "promtool";

const BUILDS: [Build; 1] = [Build {
    what: PROMTOOL,
    module: "promtool",
    // Without the clients of every cloud, which take several times as long as the rest: nothing is discovered here.
    packages: &["-tags=remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool"],
    output: PROMTOOL,
    linker_flags: "-s -w",
}];

const PINS: [&str; 2] =
    [include_str!("../../kubernetes/promtool/go.mod"), include_str!("../../kubernetes/promtool/go.sum")];

const PROGRAMS: Programs =
    Programs { name: "promtool", what: PROMTOOL, otherwise: "", pins: &PINS, builds: &BUILDS };
