//! A control plane to try things on: starts one, says how to reach it, and stops it on Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use testinium_testbed::control_plane::{AuditLevel, Binaries, ControlPlane, Options};
use testinium_testbed::{Error, chain};
use tokio::signal::unix::{SignalKind, signal};

/// Starts kube-apiserver and etcd on this machine until Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only build kube-apiserver, etcd and kubectl, and say where they are
    #[arg(long)]
    build_only: bool,

    /// Keep the data in this directory, and find it there again the next time
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let Arguments { build_only, directory } = arguments;
    let binaries = Binaries::obtain()?;
    if build_only {
        println!("{}", binaries.directory().display());
        return Ok(());
    }
    // Only once it is there: until then the signals' usual effect is right, and nothing is left behind.
    let plane =
        ControlPlane::start(Options { directory, audit: AuditLevel::Metadata, ..Options::default() })?;
    let [api_server, etcd] = plane.pids();
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    println!("export PATH={}:$PATH", binaries.directory().display());
    println!("# kube-apiserver {api_server}, etcd {etcd}, logs in {}", plane.directory().display());
    println!("# Ctrl-C stops it");
    let failed = |source| Error::Io { attempt: "failed to listen for signals".into(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    plane.stop()
}
