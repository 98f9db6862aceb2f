//! Runs one of the pinned tools in the place of this process, or builds all of them.
//!
//! ```text
//! tool helm version    runs helm, which is built if need be
//! tool                 builds every tool, and says where each is
//! ```

use std::env;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use testinium_testbed::tools::Tool;
use testinium_testbed::{Error, chain};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let done = match arguments.next() {
        None => build_all(),
        Some(name) => match Tool::ALL.into_iter().find(|tool| name == tool.name()) {
            Some(tool) => become_it(tool, &arguments.collect::<Vec<_>>()),
            None => {
                eprintln!("{} is none of {}", name.display(), Tool::ALL.map(Tool::name).join(", "));
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn build_all() -> Result<(), Error> {
    for tool in Tool::ALL {
        println!("{}", tool.directory()?.join(tool.name()).display());
    }
    Ok(())
}

/// It comes back only if it fails.
fn become_it(tool: Tool, arguments: &[std::ffi::OsString]) -> Result<(), Error> {
    let source = tool.command(arguments)?.exec();
    Err(Error::Io { attempt: format!("failed to run {}", tool.name()), source })
}
