//! The operator as a child process that can be killed, frozen and started again, with a fault proxy before the API
//! server.
//!
//! It runs with the ServiceAccount and the RBAC that ship. The log of all its lives is one file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::client::Client;
use crate::control_plane::ControlPlane;
use crate::faults::{self, Proxy};
use crate::kubectl::{Kubectl, Output, wait_until};
use crate::launcher::{self, Launcher, TEXT_LOG};
use crate::process::{Guarded, Signal};

/// A cluster with the operator's manifests applied, as operators find it.
#[derive(Debug)]
pub struct Site {
    pub client: Client,
    url: String,
    ca_pem: String,
    kubeconfig: PathBuf,
    binary: PathBuf,
}

/// One operator. It is not at work until it is started.
#[derive(Debug)]
pub struct Operator {
    /// Stands before the API server.
    pub api: Proxy,
    binary: PathBuf,
    launcher: Launcher,
    log: PathBuf,
    process: Arc<Mutex<Process>>,
}

#[derive(Debug, Default)]
struct Process {
    now: Option<Guarded>,
    starts: usize,
}

/// Ends an operator as a crash would, from wherever: a fault's callback for instance.
#[derive(Clone, Debug)]
pub struct Killer(Arc<Mutex<Process>>);

/// Far above what it takes on a busy machine.
const SERVED: Duration = Duration::from_secs(60);

// === impl Site ===

impl Site {
    /// `binary` is the operator's.
    pub fn new(plane: &ControlPlane, binary: &Path) -> Result<Self, Error> {
        Self::with_account(plane, binary, launcher::SERVICE_ACCOUNT)
    }

    /// The same for operators that run under another ServiceAccount, of the operator's namespace.
    pub fn with_account(plane: &ControlPlane, binary: &Path, account: &str) -> Result<Self, Error> {
        Ok(Self {
            client: plane.client()?,
            url: plane.url(),
            ca_pem: plane.ca()?,
            kubeconfig: plane.kubeconfig_for_service_account(launcher::NAMESPACE, account)?,
            binary: binary.to_owned(),
        })
    }

    /// An operator that reaches the API server through a proxy of its own. `directory` takes its files; `flags` come
    /// after `run`.
    pub fn operator(&self, directory: &Path, name: &str, flags: &[&str]) -> Result<Operator, Error> {
        let config = faults::Config {
            upstream_ca_pem: Some(self.ca_pem.clone()),
            tls: true,
            ..faults::Config::new(&self.url)
        };
        let api = Proxy::start(config).map_err(Error::Proxy)?;
        let attempt = || "failed to write an operator's kubeconfig".to_owned();
        let original = fs::read_to_string(&self.kubeconfig).map_err(Error::io(attempt()))?;
        let proxied = api
            .kubeconfig(&original)
            .map_err(|source| Error::Json { what: "a kubeconfig".into(), source })?;
        let kubeconfig = directory.join(format!("{name}.kubeconfig"));
        fs::write(&kubeconfig, proxied).map_err(Error::io(attempt()))?;
        Ok(Operator {
            api,
            binary: self.binary.clone(),
            launcher: Launcher::new(&kubeconfig).flags(&[TEXT_LOG]).flags(flags),
            log: directory.join(format!("{name}.log")),
            process: Arc::default(),
        })
    }

    /// The same, but the proxy is left out: the operator's connections are to the API server itself.
    pub fn direct_operator(&self, directory: &Path, name: &str, flags: &[&str]) -> Result<Operator, Error> {
        let launcher = Launcher::new(&self.kubeconfig).flags(&[TEXT_LOG]).flags(flags);
        Ok(Operator { launcher, ..self.operator(directory, name, flags)? })
    }
}

// === impl Operator ===

impl Operator {
    /// Starts it, unless it is at work.
    pub fn start(&self) -> Result<(), Error> {
        let mut process = lock(&self.process);
        if let Some(running) = &mut process.now
            && running.try_wait()?.is_none()
        {
            return Ok(());
        }
        process.now = Some(self.launcher.spawn(&self.binary, &self.log)?);
        process.starts += 1;
        Ok(())
    }

    pub fn killer(&self) -> Killer {
        Killer(self.process.clone())
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        lock(&self.process).starts
    }

    /// Its process id, if it is at work.
    pub fn pid(&self) -> Result<Option<u32>, Error> {
        let mut process = lock(&self.process);
        let Some(running) = &mut process.now else { return Ok(None) };
        Ok(if running.try_wait()?.is_none() { Some(running.pid()) } else { None })
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        lock(&self.process).now.as_ref().map_or(Ok(()), |running| running.signal(signal))
    }

    /// Waits for it to end by itself; `None` if it still runs after `limit`, or never did.
    pub fn wait(&self, limit: Duration) -> Result<Option<ExitStatus>, Error> {
        lock(&self.process).now.as_mut().map_or(Ok(None), |running| running.wait(limit))
    }

    /// The log of all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

// === impl Killer ===

impl Killer {
    pub fn kill(&self) {
        if let Some(mut running) = lock(&self.0).now.take() {
            // It has ended already, which is as good.
            let _ = running.kill();
        }
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    // A test that panicked has left no child half started.
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Applies all of `deploy/manifests`, and waits until the definitions in it are served: some moments after one is
/// established, its collection still answers 404 or 429.
pub fn install(kubectl: &Kubectl) -> Result<(), Error> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/manifests");
    kubectl.run(&["apply".as_ref(), "--kustomize".as_ref(), manifests.as_os_str()])?.success()?;
    wait_until_served(kubectl)
}

/// Waits until the definitions are served, by whomever they were applied.
pub fn wait_until_served(kubectl: &Kubectl) -> Result<(), Error> {
    let crds = ["crd/testplanruns.testinium.io", "crd/testiniumgateways.testinium.io"];
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", crds[0], crds[1]])?.success()?;
    for resource in ["testplanruns", "testiniumgateways"] {
        let collection = format!("--raw=/apis/testinium.io/v1alpha1/{resource}?limit=1");
        wait_until(&format!("{resource} to be served"), SERVED, || {
            kubectl.run(&["get", &collection, "--request-timeout=5s"]).and_then(Output::success)
        })?;
    }
    Ok(())
}

/// Builds the operator if need be; returns where it is.
pub fn build() -> Result<PathBuf, Error> {
    let attempt = || Error::io("failed to run `cargo build`");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(cargo);
    // The variables that `cargo run` sets for its program would make build scripts that look at them run again, which
    // takes half a minute.
    let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about_us) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(root)
        .args(["build", "--quiet", "--bin", "testinium-operator", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(attempt())?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    match path {
        Some(path) if output.status.success() => Ok(path),
        _ => Err(attempt()(std::io::Error::other(format!("it ended with {}", output.status)))),
    }
}

/// The status and the text of a page that the operator serves, such as `/readyz`.
pub fn page(port: u16, path: &str) -> Result<(u16, String), Error> {
    let attempt = || Error::io(format!("failed to get {path} from port {port}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(attempt())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(attempt())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(attempt())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(attempt())?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), text.trim().to_owned()))
}

/// The value of a series without labels.
pub fn gauge(page: &str, name: &str) -> String {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or("-").to_owned()
}
