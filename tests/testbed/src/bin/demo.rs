//! The demo: a real control plane, a simulated gateway and the operator, and plans that are stopped before your eyes.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use testinium_testbed::chain;
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::launcher::{self, Launcher, TEXT_LOG};
use testinium_testbed::operator;
use testinium_testbed::process::{Guarded, Signal};
use testinium_testbed::simulator::{Config, Nature, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// Brings up a control plane, a simulated gateway and the operator, and stops plans.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave everything up afterwards, until Ctrl-C, and say what to try
    #[arg(long)]
    keep: bool,
}

/// The reason why a step fails.
type Failure = Box<dyn Error>;

const NAMESPACE: &str = "qa";
const TOKEN: &str = "demo-token";
const SOON: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    say("Building the operator");
    let binary = operator::build()?;
    say("Starting kube-apiserver and etcd, and installing what is in deploy/manifests");
    let plane = ControlPlane::start(Options::default())?;
    operator::install(&plane.kubectl())?;
    plane.kubectl().run(&["create", "namespace", NAMESPACE])?.success()?;
    say("Starting a simulated Testinium gateway and the operator");
    // Plan 999 does not exist, as happens.
    let simulator = Simulator::start(Config { token: TOKEN.to_owned(), ..Config::default() })?;
    simulator.plan(999, Nature::Unknown);
    let log = plane.directory().join("operator.log");
    let operator = start_operator(&binary, &plane, &log)?;
    let kubectl = plane.kubectl().in_namespace(NAMESPACE);
    prepare(&kubectl, &simulator)?;
    let shown = show(&kubectl);
    if shown.is_err() {
        eprintln!("the operator said:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    }
    shown?;
    say("What the gateway was asked");
    simulator.calls().iter().for_each(|call| println!("{call}"));
    if arguments.keep {
        keep(&plane, &log).await?;
    }
    end(operator)?;
    plane.stop()?;
    say("Done: everything is stopped and nothing is left behind");
    Ok(())
}

/// The operator as its pod would run it: with the ServiceAccount and the RBAC that ship.
fn start_operator(binary: &Path, plane: &ControlPlane, log: &Path) -> Result<Guarded, Failure> {
    let launcher = Launcher::new(&launcher::kubeconfig(plane)?);
    Ok(launcher.flags(&["--lease-namespace", launcher::NAMESPACE, TEXT_LOG]).spawn(binary, log)?)
}

fn prepare(kubectl: &Kubectl, simulator: &Simulator) -> Result<(), Failure> {
    say("A gateway, the Secret with its token, and some runs");
    kubectl
        .run(&["create", "secret", "generic", "testinium-token", &format!("--from-literal=token={TOKEN}")])?
        .success()?;
    let run = |name: &str, load: &str, plans: &[i64]| {
        json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"name": name, "labels": {"load": load}}, "spec": {"plans": plans},
        })
    };
    let gateway = json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": "default"},
        "spec": {
            "url": simulator.url(), "allowPlainHTTP": true,
            "auth": {"bearerToken": {"secretRef": {"name": "testinium-token"}}},
        },
    });
    let items = [
        gateway,
        run("nightly", "light", &[614, 615, 312]),
        run("search-load", "heavy", &[701, 702]),
        run("checkout-load", "heavy", &[703, 704, 999]),
    ];
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    wait_until("the operator to see the runs", SOON, || {
        let seen = kubectl.get_json(&["tpr"]).map_err(|error| error.to_string())?;
        let seen = seen["items"]
            .as_array()
            .map_or(0, |runs| runs.iter().filter(|run| run["status"]["conditions"].is_array()).count());
        if seen == 3 { Ok(()) } else { Err(format!("{seen} of 3")) }
    })?;
    Ok(())
}

/// The commands that a person would type, and their output.
fn show(kubectl: &Kubectl) -> Result<(), Failure> {
    say("Runs that nobody wants to stop");
    typed(kubectl, &["get", "tpr"])?;

    say("Stop one run, and wait until it is stopped");
    typed(
        kubectl,
        &[
            "patch",
            "tpr",
            "nightly",
            "--type=merge",
            "--field-manager=testinium",
            "-p",
            r#"{"spec":{"stopped":true,"reason":"load on the wrong system"}}"#,
        ],
    )?;
    typed(kubectl, &["wait", "tpr/nightly", "--for=condition=Stopped", "--timeout=20s"])?;

    say("Stop every heavy run, without touching a spec that Git may own");
    typed(kubectl, &["annotate", "tpr", "-l", "load=heavy", "testinium.io/stop=incident-4711"])?;
    for name in ["tpr/search-load", "tpr/checkout-load"] {
        let wait =
            ["wait", name, "--for=jsonpath={.status.stop.lastHandledRequest}=incident-4711", "--timeout=20s"];
        typed(kubectl, &wait)?;
    }
    typed(kubectl, &["get", "tpr", "-o", "wide"])?;

    say("Plan 999 does not exist: the run says so, and its other plans are stopped all the same");
    wait_until("the event to be written", SOON, || {
        let events = kubectl
            .run(&["events", "--for", "testplanrun/checkout-load"])
            .map_err(|error| error.to_string())?;
        if events.stdout.contains("PartiallyStopped") { Ok(()) } else { Err(events.stdout) }
    })?;
    typed(kubectl, &["describe", "tpr", "checkout-load"])
}

fn typed(kubectl: &Kubectl, arguments: &[&str]) -> Result<(), Failure> {
    let quoted: Vec<_> = arguments
        .iter()
        .map(
            |argument| {
                if argument.contains(['{', ' ']) { format!("'{argument}'") } else { (*argument).to_owned() }
            },
        )
        .collect();
    println!("\n$ kubectl -n {NAMESPACE} {}", quoted.join(" "));
    print!("{}", kubectl.run(arguments)?.success()?);
    Ok(())
}

async fn keep(plane: &ControlPlane, log: &Path) -> Result<(), Failure> {
    say("Left up until Ctrl-C. In another terminal:");
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    println!("kubectl -n {NAMESPACE} get tpr --watch");
    println!("kubectl -n {NAMESPACE} patch tpr nightly --type=merge -p '{{\"spec\":{{\"stopped\":false}}}}'");
    println!("kubectl -n {NAMESPACE} annotate tpr --all --overwrite testinium.io/stop=\"$(date -Is)\"");
    println!("kubectl -n {NAMESPACE} events");
    println!("tail -f {}", log.display());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn end(mut operator: Guarded) -> Result<(), Failure> {
    operator.signal(Signal::TERM)?;
    match operator.wait(SOON)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("the operator ended with {status}").into()),
        None => Err("the operator did not end when it was asked to".into()),
    }
}

fn say(text: &str) {
    println!("\n=== {text}");
}
