//! The command: reads its arguments, sets up logging, runs, and turns the result into an exit code.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};
use testinium_operator::cli::{
    Cli, Command, CrdsArgs, CrdsFormat, LogFormat, LogLevel, ReleaseFinalizersArgs, RunArgs,
};
use testinium_operator::{api, operator, telemetry, text, uninstall};

/// Wrong usage ends inside of `read`, with exit code 2.
fn main() -> ExitCode {
    let done = match Cli::read().command {
        Command::Run(args) => run(*args),
        Command::Crds(args) => crds(&args),
        Command::ReleaseFinalizers(args) => release_finalizers(&args),
    };
    let (code, last) = match done {
        Ok(()) => (ExitCode::SUCCESS, None),
        Err(error) => (ExitCode::FAILURE, Some(format!("testinium-operator: {error}"))),
    };
    telemetry::end_logging(last.as_deref());
    code
}

fn run(settings: RunArgs) -> Result<(), Box<dyn Error>> {
    telemetry::init_logging(settings.log_format, settings.log_level)?;
    raise_file_limit();
    // One thread: a stop is a dozen wake-ups of microseconds, and handing each from thread to thread costs more than
    // what a second processor could take over.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(operator::run(settings));
    // A name server that does not answer must not hold up the end.
    runtime.shutdown_background();
    ended.map_err(|error| text::error_line(&error).into())
}

/// Lets the process open as many files as it may: each connection is one. The lower limit is there for programs that
/// use `select`, which none of this does.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

fn release_finalizers(settings: &ReleaseFinalizersArgs) -> Result<(), Box<dyn Error>> {
    // What is done is said on stdout. The log has no more than what went wrong on the way.
    telemetry::init_logging(LogFormat::Text, LogLevel::Warn)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(uninstall::release_finalizers(settings));
    runtime.shutdown_background();
    ended.map_err(|error| text::chain(&error).into())
}

/// Prints the definitions, or writes them into a directory.
fn crds(args: &CrdsArgs) -> Result<(), Box<dyn Error>> {
    let all = api::crds();
    let files = match args.format {
        CrdsFormat::Yaml => {
            let file = |crd| Ok((api::file_name(crd), api::to_yaml(crd)?));
            all.iter().map(file).collect::<Result<Vec<_>, api::YamlError>>()?
        }
        CrdsFormat::Markdown => vec![(api::REFERENCE_FILE.to_owned(), api::reference(&all))],
    };
    for (name, text) in files {
        match (&args.dir, args.format) {
            (Some(dir), _) => {
                let file = dir.join(name);
                std::fs::write(&file, text)
                    .map_err(|error| format!("failed to write {}: {error}", file.display()))?;
            }
            (None, CrdsFormat::Yaml) => std::io::stdout().write_all(format!("---\n{text}").as_bytes())?,
            (None, CrdsFormat::Markdown) => std::io::stdout().write_all(text.as_bytes())?,
        }
    }
    Ok(())
}
