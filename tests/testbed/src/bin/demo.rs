//! The demo: a real control plane, a simulated gateway and the operator, and plans that are stopped before your eyes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testinium_testbed::chain;
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::launcher::{self, Launcher, TEXT_LOG};
use testinium_testbed::operator;
use testinium_testbed::process::{Guarded, Signal};
use testinium_testbed::simulator::{Config, Nature, Simulator};
use testinium_testbed::terminal::Terminal;
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

/// The namespace of what is shown.
const SHOWN: &str = "qa";
/// The namespace for the tour, which is left empty: a run that was stopped before would not be stopped again.
const TOUR: &str = "tour";
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
    for namespace in [SHOWN, TOUR] {
        plane.kubectl().run(&["create", "namespace", namespace])?.success()?;
    }
    say("Starting a simulated Testinium gateway and the operator");
    // Plan 999 does not exist, as happens.
    let simulator = Simulator::start(Config { token: TOKEN.to_owned(), ..Config::default() })?;
    simulator.plan(999, Nature::Unknown);
    let log = plane.directory().join("operator.log");
    let operator = start_operator(&binary, &plane, &log)?;
    let terminal = Terminal::new(&plane, TOUR, plane.directory())?.with_gateway(&simulator, TOKEN);
    let manifests = write_manifests(plane.directory(), &simulator)?;
    let shown = show(&terminal, &manifests);
    if shown.is_err() {
        eprintln!("the operator said:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }
    shown?;
    say("What the gateway was asked");
    simulator.calls().iter().for_each(|call| println!("{call}"));
    if arguments.keep {
        keep(&terminal, &manifests, &log).await?;
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

/// Writes the manifests of what is shown into a folder of their own, as samples to change and apply. Their plans are
/// others than those of the tour, which are to run when it begins.
fn write_manifests(directory: &Path, simulator: &Simulator) -> Result<PathBuf, Failure> {
    let folder = directory.join("manifests");
    fs::create_dir_all(&folder)?;
    let run = |name: &str, load: &str, plans: &str| {
        format!(
            "apiVersion: testinium.io/v1alpha1\n\
             kind: TestPlanRun\n\
             metadata: {{name: {name}, labels: {{load: {load}}}}}\n\
             spec: {{plans: [{plans}]}}\n"
        )
    };
    let gateway = format!(
        "apiVersion: testinium.io/v1alpha1\n\
         kind: TestiniumGateway\n\
         metadata: {{name: default}}\n\
         spec:\n  \
           url: {}\n  \
           allowPlainHTTP: true\n  \
           auth: {{bearerToken: {{secretRef: {{name: testinium-token}}}}}}\n",
        simulator.url()
    );
    fs::write(folder.join("gateway.yaml"), gateway)?;
    fs::write(folder.join("nightly.yaml"), run("nightly", "light", "401, 402, 403"))?;
    fs::write(folder.join("search-load.yaml"), run("search-load", "heavy", "501, 502"))?;
    fs::write(folder.join("checkout-load.yaml"), run("checkout-load", "heavy", "511, 512, 999"))?;
    Ok(folder)
}

/// The commands that a person would type, and their output.
fn show(terminal: &Terminal, manifests: &Path) -> Result<(), Failure> {
    say("A gateway, the Secret with its token, and some runs");
    typed(
        terminal,
        r#"kubectl -n qa create secret generic testinium-token --from-literal=token="$TESTINIUM_TOKEN""#,
    )?;
    typed(terminal, &format!("kubectl -n qa apply -f '{}'", manifests.display()))?;
    wait_for_output(terminal, "kubectl -n qa get tpr", |table| table.matches("NotRequested").count() == 3)?;

    say("Runs that nobody wants to stop");
    typed(terminal, "kubectl -n qa get tpr")?;

    say("Stop one run, and wait until it is stopped");
    typed(terminal, STOP_ONE)?;
    typed(terminal, "kubectl -n qa wait tpr/nightly --for=condition=Stopped --timeout=20s")?;

    say("Stop every heavy run, without touching a spec that Git may own, and wait for the end");
    typed(terminal, STOP_HEAVY)?;
    typed(terminal, WAIT_FOR_HEAVY)?;
    typed(terminal, "kubectl -n qa get tpr -o wide")?;

    say("Plan 999 does not exist: the run says so, and its other plans are stopped all the same");
    wait_for_output(terminal, "kubectl -n qa events --for testplanrun/checkout-load", |events| {
        events.contains("PartiallyStopped")
    })?;
    typed(terminal, WHICH_FAILED)?;
    typed(terminal, "kubectl -n qa describe tpr checkout-load")
}

const STOP_ONE: &str = r#"kubectl -n qa patch tpr nightly --type=merge --field-manager=testinium \
    -p '{"spec":{"stopped":true,"reason":"load on the wrong system"}}'"#;
const STOP_HEAVY: &str = r#"kubectl -n qa annotate tpr -l load=heavy --overwrite --field-manager=testinium \
    testinium.io/stop="$(date +%s)""#;
/// No stop of these runs has ended before.
const WAIT_FOR_HEAVY: &str =
    "kubectl -n qa wait tpr -l load=heavy --for=jsonpath='{.status.stop.completionTime}' --timeout=20s";
const WHICH_FAILED: &str = r#"kubectl -n qa get tpr checkout-load \
    -o jsonpath='{range .status.plans[?(@.reason)]}{.id}{"\t"}{.outcome}{"\t"}{.message}{"\n"}{end}'"#;

/// What to try while everything is left up.
const TRY: &[&str] = &[
    "kubectl -n qa get tpr --watch",
    r#"kubectl -n qa patch tpr nightly --type=merge --field-manager=testinium -p '{"spec":{"stopped":false}}'"#,
    r#"kubectl -n qa annotate tpr --all --overwrite --field-manager=testinium testinium.io/stop="$(date +%s)""#,
    "kubectl -n qa events",
];

/// Shows a command as it can be pasted, runs it, and shows its output.
fn typed(terminal: &Terminal, command: &str) -> Result<(), Failure> {
    println!("\n$ {command}");
    print!("{}", terminal.run(command)?.success()?);
    Ok(())
}

fn wait_for_output(terminal: &Terminal, command: &str, wanted: impl Fn(&str) -> bool) -> Result<(), Failure> {
    wait_until(command, SOON, || {
        let output = terminal.run(command).map_err(|error| error.to_string())?;
        if wanted(&output.stdout) { Ok(()) } else { Err(output.stdout) }
    })?;
    Ok(())
}

async fn keep(terminal: &Terminal, manifests: &Path, log: &Path) -> Result<(), Failure> {
    say("Left up until Ctrl-C. Paste this into another terminal:");
    terminal.lines().iter().for_each(|line| println!("{line}"));
    println!(
        "\nThat terminal has a kubectl, and the empty namespace \"{TOUR}\" as its default: the tour in docs/tour.md can \
         be pasted\ninto it as it stands. Of what was shown above, in the namespace \"{SHOWN}\":\n"
    );
    TRY.iter().for_each(|line| println!("{line}"));
    println!("\nThe manifests are in {}", manifests.display());
    println!("The operator's log is {}", log.display());
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
