//! Runs the pinned Helm, which it builds if need be, in the place of this process.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use testinium_testbed::{Error, chain, helm};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let error = match helm::command(&arguments) {
        // It comes back only if it fails.
        Ok(mut command) => Error::Io { attempt: "failed to run helm".into(), source: command.exec() },
        Err(error) => error,
    };
    eprintln!("{}", chain(&error));
    ExitCode::FAILURE
}
