//! A Kubernetes control plane on this machine: the real kube-apiserver over the real etcd.
//!
//! ```text
//! kubectl, operator --TLS, 127.0.0.1--> kube-apiserver --socket--> etcd, no fsync
//! ```
//!
//! RBAC, admission policies, audit and ServiceAccount tokens work as in any cluster. There are no controllers,
//! no scheduler and no nodes: nothing runs a pod, collects garbage or finishes the deletion of a namespace.
//!
//! The servers end with this process, however it ends, and so does the directory of their files: see
//! [`crate::process`]. What disturbs a control plane (pause, kill, start again) needs it mutably, so no test
//! can do it to the one that others share.

mod audit;
mod binaries;
mod files;
mod options;
mod servers;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use self::audit::{AuditEntry, AuditLevel};
pub use self::binaries::{Binaries, Version};
use self::files::Files;
pub use self::options::Options;
use crate::client::Client;
use crate::kubectl::Kubectl;
use crate::process::{self, Guarded, Signal};
use crate::{Error, chain};

/// A running control plane; it stops when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: the servers before their files.
    api_server: Guarded,
    etcd: Guarded,
    port: u16,
    kubeconfig: PathBuf,
    files: Files,
    options: Options,
    binaries: Binaries,
    _directory: Directory,
}

/// The directory of the files, held for as long as they are used.
#[derive(Debug)]
enum Directory {
    Temporary(#[expect(dead_code, reason = "removes the directory on drop")] TempDir),
    Kept(#[expect(dead_code, reason = "is a lock")] File),
}

// === impl ControlPlane ===

impl ControlPlane {
    /// The one that the tests of this process share, started by the first who asks.
    ///
    /// # Panics
    ///
    /// If it can't be started: no test that wants it could go on.
    #[expect(clippy::panic, reason = "this is for tests")]
    pub fn shared() -> &'static ControlPlane {
        static SHARED: OnceLock<Result<ControlPlane, Error>> = OnceLock::new();
        match SHARED.get_or_init(|| ControlPlane::start(Options::default())) {
            Ok(plane) => plane,
            Err(error) => panic!("{}", chain(error)),
        }
    }

    /// Starts the servers, having built them if need be, and waits until they are ready.
    pub fn start(options: Options) -> Result<ControlPlane, Error> {
        let binaries = Binaries::obtain()?;
        let (path, held) = match &options.directory {
            None => {
                let directory = process::temporary_directory("testinium-kubernetes-")?;
                (directory.path().to_owned(), Directory::Temporary(directory))
            }
            Some(path) => keep(path)?,
        };
        let files = Files::write(&path, options.audit, binaries.version())?;
        let mut etcd =
            Guarded::spawn(servers::etcd(&binaries.etcd(), &files, &options), &files.path("etcd.log"))?;
        let (port, kubeconfig, api_server) = start_on_free_port(&binaries, &files, &options, &mut etcd)?;
        Ok(ControlPlane { api_server, etcd, port, kubeconfig, files, options, binaries, _directory: held })
    }

    /// The version of its programs.
    pub fn version(&self) -> Version {
        self.binaries.version()
    }

    /// The kubeconfig of an administrator (group `system:masters`).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig with a token of an existing ServiceAccount, valid for a day.
    pub fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let kubectl = self.kubectl().in_namespace(namespace);
        let token = kubectl.run(&["create", "token", name, "--duration=24h"])?.success()?;
        let user = format!("service-account-{namespace}-{name}");
        self.files.token_kubeconfig(&user, &self.url(), namespace, token.trim())
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The certificate authority that vouches for [`ControlPlane::url`], as PEM.
    pub fn ca(&self) -> Result<String, Error> {
        self.read("ca.crt")
    }

    /// An HTTP client as the administrator.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(&self.url(), &self.ca()?, &self.read("admin.crt")?, &self.read("admin.key")?)
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.files.path(name);
        fs::read_to_string(&path).map_err(Error::io(format!("failed to read {}", path.display())))
    }

    /// `kubectl` as the administrator, in the namespace `default`.
    pub fn kubectl(&self) -> Kubectl {
        kubectl(&self.binaries, &self.files, &self.kubeconfig)
    }

    /// Every request so far, except with [`AuditLevel::Off`].
    ///
    /// An entry is written just after the answer is sent: wait for the one that is expected, then count.
    pub fn audit(&self) -> Result<Vec<AuditEntry>, Error> {
        audit::read(&self.files.path("audit.log"))
    }

    /// Where certificates, logs (`kube-apiserver.log`, `etcd.log`, `audit.log`) and data lie.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// The process ids of kube-apiserver and etcd.
    pub fn pids(&self) -> [u32; 2] {
        [self.api_server.pid(), self.etcd.pid()]
    }

    /// Freezes the API server: connections stay open, and nothing is answered.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.api_server.signal(Signal::STOP)
    }

    /// Undoes [`ControlPlane::pause`].
    pub fn resume(&mut self) -> Result<(), Error> {
        self.api_server.signal(Signal::CONT)
    }

    /// Kills the API server; connections are reset, and new ones refused. The data stays.
    pub fn kill_api_server(&mut self) -> Result<(), Error> {
        self.api_server.kill().map(drop)
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    pub fn start_api_server(&mut self) -> Result<(), Error> {
        self.kill_api_server()?;
        let command =
            servers::kube_apiserver(&self.binaries.kube_apiserver(), &self.files, &self.options, self.port);
        self.api_server = Guarded::spawn(command, &self.files.path(API_SERVER_LOG))?;
        let kubectl = self.kubectl();
        wait_until_ready(&mut self.api_server, &mut self.etcd, &kubectl)
    }

    /// Stops the servers and, unless [`Options::directory`] is set, removes their files.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        // The API server may take a minute to drain its watches. There is nothing to lose in killing it: each
        // answered write is in etcd, which does end in good order.
        self.api_server.kill()?;
        self.etcd.stop(ETCD_GRACE).map(drop)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Can't be reported here, and is tried again when the fields are dropped.
        let _ = self.end();
    }
}

/// Locks a directory that outlives the control plane, having made it if need be.
fn keep(path: &Path) -> Result<(PathBuf, Directory), Error> {
    let attempt = || format!("failed to set up the directory {}", path.display());
    fs::create_dir_all(path).map_err(Error::io(attempt()))?;
    let path = path.canonicalize().map_err(Error::io(attempt()))?;
    let lock = File::create(path.join("lock")).map_err(Error::io(attempt()))?;
    match lock.try_lock() {
        Ok(()) => Ok((path, Directory::Kept(lock))),
        Err(fs::TryLockError::WouldBlock) => Err(Error::DirectoryInUse(path)),
        Err(fs::TryLockError::Error(error)) => Err(Error::io(attempt())(error)),
    }
}

/// Starts the API server and waits for it, on another port if somebody else was quicker to take the first.
fn start_on_free_port(
    binaries: &Binaries,
    files: &Files,
    options: &Options,
    etcd: &mut Guarded,
) -> Result<(u16, PathBuf, Guarded), Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let port = process::free_port()?;
        let kubeconfig = files.admin_kubeconfig(&url(port))?;
        let command = servers::kube_apiserver(&binaries.kube_apiserver(), files, options, port);
        let mut api_server = Guarded::spawn(command, &files.path(API_SERVER_LOG))?;
        match wait_until_ready(&mut api_server, etcd, &kubectl(binaries, files, &kubeconfig)) {
            Ok(()) => return Ok((port, kubeconfig, api_server)),
            Err(Error::Ended { output, .. }) if output.contains(PORT_TAKEN) && attempts < PORTS_TRIED => {}
            Err(error) => return Err(error),
        }
    }
}

fn wait_until_ready(api_server: &mut Guarded, etcd: &mut Guarded, kubectl: &Kubectl) -> Result<(), Error> {
    let deadline = Instant::now() + READY;
    loop {
        for server in [&mut *api_server, &mut *etcd] {
            if let Some(status) = server.try_wait()? {
                return Err(ended(server, status));
            }
        }
        let answer = kubectl.run(&["get", "--raw=/readyz", "--request-timeout=5s"])?;
        if answer.status.success() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let seen = answer.stderr.trim_end().to_owned();
            return Err(Error::NotReady { limit: READY, seen, output: api_server.log_tail() });
        }
        // Its end shows at once; readiness is looked for at a pace that leaves the server the processor.
        api_server.wait(READY_PAUSE)?;
    }
}

fn ended(server: &Guarded, status: ExitStatus) -> Error {
    Error::Ended { name: server.name().to_owned(), status, output: server.log_tail() }
}

fn kubectl(binaries: &Binaries, files: &Files, kubeconfig: &Path) -> Kubectl {
    Kubectl::new(&binaries.kubectl(), kubeconfig, &files.path("kubectl-cache"))
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

const API_SERVER_LOG: &str = "kube-apiserver.log";

/// A start takes three seconds on an idle machine; tests run on machines that aren't.
const READY: Duration = Duration::from_secs(90);

const READY_PAUSE: Duration = Duration::from_millis(100);

const ETCD_GRACE: Duration = Duration::from_secs(1);

/// How the API server words that its port belongs to somebody else.
const PORT_TAKEN: &str = "address already in use";

const PORTS_TRIED: u32 = 5;
