//! Builds what the image would hold from what an image build would see, and runs it in an empty root.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use serde_json::{Value, json};
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::image::{Image, build};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::launcher::{self, Launcher, METRICS_OFF, PROBES_OFF, TEXT_LOG};
use testinium_testbed::process::Guarded;
use testinium_testbed::simulator::{Config, Simulator, Tls};
use testinium_testbed::{chain, operator};

/// Builds what the image would hold, from the files that an image build would see, and runs it in an empty root.
///
/// No container engine is needed. The binary must say its version, print the definitions, and stop plans on a real
/// control plane, with the image's CA certificates and without.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keep what was built in this directory, where the next build finds it
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
    let directory = arguments.directory.unwrap_or_else(|| repository.join("target/image"));
    let started = Instant::now();
    say("Building what the Dockerfile describes");
    let image = build(&repository, &directory)?;
    println!("{} after {} s", image.root.display(), started.elapsed().as_secs());

    say("Running it in an empty root");
    says_its_version(&image)?;
    prints_the_definitions(&image, &repository)?;
    says_what_it_lacks(&image)?;

    say("Stopping plans with it");
    let plane = ControlPlane::start(Options::default())?;
    operator::install(&plane.kubectl())?;
    let site = Site::prepare(&plane)?;
    // The CA of the gateway behind https is not among the image's: the gateway is refused for that, and not for want of
    // any.
    site.try_out(
        &image,
        &Trial { name: "with", plan: 614, https: ("Unreachable", "check its certificate") },
    )?;
    fs::remove_file(image.root.join(BUNDLE))?;
    let none = ("InvalidCredential", "the operator's image has no usable CA certificates");
    site.try_out(&image, &Trial { name: "without", plan: 615, https: none })?;
    plane.stop()?;
    say("Done");
    Ok(())
}

fn says_its_version(image: &Image) -> Result<(), Failure> {
    let output = image.command(&["--version"]).output()?;
    let expected = concat!("testinium-operator ", env!("CARGO_PKG_VERSION"), "\n");
    if output.status.success() && output.stdout == expected.as_bytes() {
        return Ok(());
    }
    Err(format!("--version should print {expected:?}: {output:?}").into())
}

fn prints_the_definitions(image: &Image, repository: &Path) -> Result<(), Failure> {
    let output = image.command(&["crds"]).output()?;
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
fn says_what_it_lacks(image: &Image) -> Result<(), Failure> {
    let output = image.default_command().args([PROBES_OFF, METRICS_OFF, TEXT_LOG]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(1) && said.contains("found no cluster to talk to") {
        return Ok(());
    }
    Err(format!("without a cluster it should say so and end with 1: {output:?}").into())
}

/// A cluster with two gateways in one namespace.
struct Site {
    kubectl: Kubectl,
    kubeconfig: Value,
    _simulators: [Simulator; 2],
    logs: tempfile::TempDir,
}

/// One life of the image's operator: with its CA certificates or without.
struct Trial {
    name: &'static str,
    /// One that runs yet.
    plan: i64,
    /// The reason, and a part of the message, of a run whose gateway is behind https.
    https: (&'static str, &'static str),
}

// === impl Site ===

impl Site {
    fn prepare(plane: &ControlPlane) -> Result<Self, Failure> {
        let plain = Simulator::start(Config::default())?;
        let secure = Simulator::start(Config { tls: Some(Tls::default()), ..Config::default() })?;
        plane.kubectl().run(&["create", "namespace", "qa"])?.success()?;
        let kubectl = plane.kubectl().in_namespace("qa");
        let gateway = |name: &str, url: String| {
            json!({
                "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": name},
                "spec": {
                    "url": url, "allowPlainHTTP": true,
                    "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
                },
            })
        };
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"},
            "stringData": {"token": "simulated-token"},
        });
        let items = [secret, gateway("plain", plain.url()), gateway("secure", secure.url())];
        kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        // The image's root has no other file, so the CA goes into the kubeconfig.
        let path = launcher::kubeconfig(plane)?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        kubeconfig["clusters"][0]["cluster"] = json!({
            "server": plane.url(), "certificate-authority-data": BASE64_STANDARD.encode(plane.ca()?),
        });
        Ok(Self { kubectl, kubeconfig, _simulators: [plain, secure], logs: tempfile::tempdir()? })
    }

    /// Starts the image, stops a plan over http, and sees what it says of a gateway behind https.
    fn try_out(&self, image: &Image, trial: &Trial) -> Result<(), Failure> {
        let kubeconfig = image.root.join("kubeconfig");
        fs::write(&kubeconfig, self.kubeconfig.to_string())?;
        fs::set_permissions(&kubeconfig, fs::Permissions::from_mode(0o444))?;
        let log = self.logs.path().join(trial.name);
        let mut command = image.default_command();
        let launcher = Launcher::new(Path::new("/kubeconfig"));
        launcher.flags(&["--leader-elect=false", TEXT_LOG]).complete(&mut command);
        let mut operator = Guarded::spawn(command, &log)?;
        let seen = self
            .stop("plain", trial, ("Accepted", ""))
            .and_then(|()| self.stop("secure", trial, trial.https));
        operator.stop(SOON)?;
        fs::remove_file(&kubeconfig)?;
        seen.map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{}\nthe operator said:\n{said}", chain(error.as_ref())).into()
        })
    }

    /// Stops a plan at a gateway, until the run says this reason and a message with this in it.
    fn stop(&self, gateway: &str, trial: &Trial, (reason, part): (&str, &str)) -> Result<(), Failure> {
        let name = format!("{gateway}-{}", trial.name);
        let run = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": name},
            "spec": {"plans": [trial.plan], "stopped": true, "gatewayRef": {"name": gateway}},
        });
        self.kubectl.apply(&run.to_string())?;
        let message = wait_until(&format!("{name} to be {reason}"), SOON, || {
            let run = self.kubectl.get_json(&["tpr", &name]).map_err(|error| error.to_string())?;
            let conditions = run["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let stopped = conditions.iter().find(|condition| condition["type"] == "Stopped");
            let message = stopped.and_then(|condition| condition["message"].as_str()).unwrap_or_default();
            match stopped {
                Some(stopped) if stopped["reason"] == reason && message.contains(part) => {
                    Ok(message.to_owned())
                }
                _ => Err(run["status"].to_string()),
            }
        })?;
        println!("{} CA certificates, gateway {gateway}: {reason}, {message}", trial.name);
        Ok(())
    }
}

fn say(text: &str) {
    println!("\n=== {text}");
}
