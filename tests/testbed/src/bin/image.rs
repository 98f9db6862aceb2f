//! Builds the image without a container engine, and runs what is in it.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use serde_json::{Value, json};
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::image::{Architecture, Layout, Origin, Places, Root, build};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::launcher::{self, Launcher, METRICS_OFF, PROBES_OFF, TEXT_LOG};
use testinium_testbed::name_server::{self, Fault, NameServer};
use testinium_testbed::process::Guarded;
use testinium_testbed::simulator::{Config, Simulator, Tls};
use testinium_testbed::{chain, operator};

/// Builds the image without a container engine, as an OCI layout, and runs what is in it.
///
/// The binary must say its version, print the definitions, and stop plans on a real control plane: with the image's CA
/// certificates and without, and at gateways whose names have faults. Images for other machines are only asked for their
/// version and the definitions, if an emulator of Debian's (qemu-user-static) is at hand.
#[derive(Debug, Parser)]
struct Arguments {
    /// The machines that the image is for: amd64, arm64, or here for machines such as this one
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "here")]
    #[arg(value_parser = Architecture::from_name)]
    architectures: Vec<Architecture>,

    /// Where people find the sources, for the image's labels
    #[arg(long, value_name = "URL", default_value = "")]
    source: String,

    /// Leave the image in this directory
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// The reason why a step fails.
type Failure = Box<dyn Error>;

const SOON: Duration = Duration::from_secs(30);
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let places = Places::within(&arguments.directory.unwrap_or_else(|| repository.join("target/image")));
    let started = Instant::now();
    say("Building what the Dockerfile describes");
    let origin = Origin::of(&repository, &arguments.source);
    let layout = build(&repository, &places, &arguments.architectures, &origin)?;
    println!("{} after {} s", places.layout.display(), started.elapsed().as_secs());
    println!("{} {}", origin.version, layout.digest()?);
    for (architecture, digest) in layout.manifests()? {
        println!("{architecture} {digest}");
    }
    for architecture in arguments.architectures {
        say(&format!("Running the image for {}", architecture.name()));
        let root = layout.unpack(architecture, &places.root)?;
        if architecture == Architecture::HERE {
            run_here(&layout, &root, &repository)?;
        } else {
            run_elsewhere(architecture, &root, &repository)?;
        }
    }
    say("Done");
    Ok(())
}

/// Everything that the image of this machine must do.
fn run_here(layout: &Layout, root: &Root, repository: &Path) -> Result<(), Failure> {
    says_its_version(root.command(&["--version"]))?;
    prints_the_definitions(root.command(&["crds"]), repository)?;
    says_what_it_lacks(root)?;

    say("Stopping plans with it");
    let plane = ControlPlane::start(Options::default())?;
    operator::install(&plane.kubectl())?;
    let site = Site::prepare(&plane)?;
    // The CA of the gateway behind https is not among the image's: the gateway is refused for that, and not for want of
    // any.
    let with = ("Unreachable", "check its certificate");
    site.try_out(root, "with", &[("plain", ("Accepted", "")), ("secure", with)])?;
    let root = layout.unpack(Architecture::HERE, &root.folder)?;
    fs::remove_file(root.folder.join(BUNDLE))?;
    let without = ("InvalidCredential", "the operator's image has no usable CA certificates");
    site.try_out(&root, "without", &[("plain", ("Accepted", "")), ("secure", without)])?;
    let root = layout.unpack(Architecture::HERE, &root.folder)?;
    site.try_names(&root)?;
    plane.stop()?;
    Ok(())
}

/// An emulator knows nothing of the image's user and root, so the program is asked for its words alone.
fn run_elsewhere(architecture: Architecture, root: &Root, repository: &Path) -> Result<(), Failure> {
    let emulator = architecture.emulator();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(emulator);
        command.arg(root.program()).args(arguments);
        command
    };
    if command(&["--version"]).output().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        println!("not run: there is no {emulator} on the PATH");
        return Ok(());
    }
    says_its_version(command(&["--version"]))?;
    prints_the_definitions(command(&["crds"]), repository)?;
    println!("it says its version and prints the definitions, by {emulator}");
    Ok(())
}

fn says_its_version(mut command: Command) -> Result<(), Failure> {
    let output = command.output()?;
    let expected = concat!("testinium-operator ", env!("CARGO_PKG_VERSION"), "\n");
    if output.status.success() && output.stdout == expected.as_bytes() {
        return Ok(());
    }
    Err(format!("--version should print {expected:?}: {output:?}").into())
}

fn prints_the_definitions(mut command: Command, repository: &Path) -> Result<(), Failure> {
    let output = command.output()?;
    let mut rest = String::from_utf8(output.stdout)?;
    for entry in fs::read_dir(repository.join("crds"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let document = format!("---\n{}", fs::read_to_string(&path)?);
            if !rest.contains(&document) {
                return Err(format!("crds should print {}", path.display()).into());
            }
            rest = rest.replacen(&document, "", 1);
        }
    }
    if rest.is_empty() && output.status.success() {
        return Ok(());
    }
    Err(format!("crds printed more than crds/ holds, or failed: {rest}").into())
}

/// The command that the image runs by itself; there is no cluster to find.
fn says_what_it_lacks(root: &Root) -> Result<(), Failure> {
    let output = root.default_command().args([PROBES_OFF, METRICS_OFF, TEXT_LOG]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(1) && said.contains("found no cluster to talk to") {
        return Ok(());
    }
    Err(format!("without a cluster it should say so and end with 1: {output:?}").into())
}

/// A cluster with gateways in one namespace.
struct Site {
    kubectl: Kubectl,
    kubeconfig: Value,
    simulators: [Simulator; 2],
    logs: tempfile::TempDir,
    /// A plan that runs yet.
    plan: Cell<i64>,
}

/// The reason, and a part of the message, that a run ends with or waits for.
type Expected = (&'static str, &'static str);

// === impl Site ===

impl Site {
    fn prepare(plane: &ControlPlane) -> Result<Self, Failure> {
        let plain = Simulator::start(Config::default())?;
        let secure = Simulator::start(Config { tls: Some(Tls::default()), ..Config::default() })?;
        plane.kubectl().run(&["create", "namespace", "qa"])?.success()?;
        let kubectl = plane.kubectl().in_namespace("qa");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"},
            "stringData": {"token": "simulated-token"},
        });
        let items = [secret, gateway("plain", &plain.url()), gateway("secure", &secure.url())];
        kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        // The image's root has no other file, so the CA goes into the kubeconfig.
        let path = launcher::kubeconfig(plane)?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        kubeconfig["clusters"][0]["cluster"] = json!({
            "server": plane.url(), "certificate-authority-data": BASE64_STANDARD.encode(plane.ca()?),
        });
        let (simulators, logs) = ([plain, secure], tempfile::tempdir()?);
        Ok(Self { kubectl, kubeconfig, simulators, logs, plan: Cell::new(614) })
    }

    /// Starts the image, and stops a plan at each of these gateways. It must leave its root as it was.
    fn try_out(&self, root: &Root, name: &str, gateways: &[(&str, Expected)]) -> Result<(), Failure> {
        let kubeconfig = root.folder.join("kubeconfig");
        write(&kubeconfig, &self.kubeconfig.to_string())?;
        let content = root.content()?;
        let log = self.logs.path().join(name);
        let mut command = root.default_command();
        let launcher = Launcher::new(Path::new("/kubeconfig"));
        launcher.flags(&["--leader-elect=false", TEXT_LOG]).complete(&mut command);
        let mut operator = Guarded::spawn(command, &log)?;
        let stopped = gateways.iter().try_for_each(|(gateway, expected)| self.stop(gateway, name, expected));
        operator.stop(SOON)?;
        if root.content()? != content {
            return Err("the operator has written into the image's root".into());
        }
        stopped.map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{}\nthe operator said:\n{said}", chain(error.as_ref())).into()
        })
    }

    /// Stops plans at gateways for whose AAAA a name server has no good answer. Only root may be a name server.
    fn try_names(&self, root: &Root) -> Result<(), Failure> {
        let server = match NameServer::start() {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                println!("names with faults are left out: only root may listen where name servers do");
                return Ok(());
            }
            server => server?,
        };
        let port =
            self.simulators[0].url().rsplit(':').next().unwrap_or_default().trim_end_matches('/').to_owned();
        for fault in Fault::ALL {
            let gateway = gateway(fault.name(), &format!("http://{}:{port}", fault.host()));
            self.kubectl.apply(&gateway.to_string())?;
        }
        // The system's resolver waits for each answer longer than this trial does: a lookup that needs both fails it.
        let resolver = format!("nameserver {}\noptions timeout:30 attempts:2\n", name_server::ADDRESS);
        write(&root.folder.join("etc/resolv.conf"), &resolver)?;
        let gateways = Fault::ALL.map(|fault| (fault.name(), ("Accepted", "")));
        self.try_out(root, "names", &gateways)?;
        drop(server);
        Ok(())
    }

    /// Stops a plan at a gateway, until the run says this reason and a message with this in it.
    fn stop(&self, gateway: &str, trial: &str, (reason, part): &Expected) -> Result<(), Failure> {
        let name = format!("{gateway}-{trial}");
        let plan = self.plan.replace(self.plan.get() + 1);
        let run = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": name},
            "spec": {"plans": [plan], "stopped": true, "gatewayRef": {"name": gateway}},
        });
        let started = Instant::now();
        self.kubectl.apply(&run.to_string())?;
        let message = wait_until(&format!("{name} to be {reason}"), SOON, || {
            let run = self.kubectl.get_json(&["tpr", &name]).map_err(|error| error.to_string())?;
            let conditions = run["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let stopped = conditions.iter().find(|condition| condition["type"] == "Stopped");
            let message = stopped.and_then(|condition| condition["message"].as_str()).unwrap_or_default();
            match stopped {
                Some(stopped) if stopped["reason"] == *reason && message.contains(part) => {
                    Ok(message.to_owned())
                }
                _ => Err(run["status"].to_string()),
            }
        })?;
        let took = started.elapsed().as_millis();
        println!("{trial}, gateway {gateway}: {reason} after {took} ms, {message}");
        Ok(())
    }
}

fn gateway(name: &str, url: &str) -> Value {
    json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": name},
        "spec": {
            "url": url, "allowPlainHTTP": true,
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        },
    })
}

/// Writes a file that the image's user can read.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o444))?)
}

fn say(text: &str) {
    println!("\n=== {text}");
}
