//! `kubectl` as a person would type it, bound to one cluster and identity.
//!
//! Always the pinned one: another version on the PATH would print other things.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Error, process};

/// A `kubectl` with a kubeconfig and, if wanted, a namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    namespace: Option<String>,
}

/// The output of a command, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
    command: String,
}

// === impl Output ===

impl Output {
    /// The output of a command that has ended.
    pub(crate) fn new(output: std::process::Output, command: String) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
            command,
        }
    }

    /// The standard output, if the command succeeded.
    pub fn success(self) -> Result<String, Error> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let stderr = self.stderr.trim_end().to_owned();
        Err(Error::Command { command: self.command, status: self.status, stderr })
    }
}

// === impl Kubectl ===

impl Kubectl {
    /// `cache` keeps what discovery finds. It must not be shared by clusters: a later one may listen on the
    /// same port as an earlier one, and `kubectl` tells them apart by nothing else.
    pub fn new(binary: &Path, kubeconfig: &Path, cache: &Path) -> Kubectl {
        Kubectl {
            binary: binary.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            cache: cache.to_owned(),
            namespace: None,
        }
    }

    /// The same for commands in `namespace`.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Kubectl {
        Kubectl { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same as another identity; see `ControlPlane::kubeconfig_for_service_account`.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// A command to be completed and run by the caller, for instance as a [`process::Guarded`] child.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            // A person's aliases and default flags are not for tests.
            .env("KUBECTL_KUBERC", "false");
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(arguments);
        command
    }

    /// Runs a command to its end. A status other than zero is no error here: see [`Output::success`].
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.run_with_input(arguments, "")
    }

    /// The same as [`Kubectl::run`], with `input` on the standard input (`-f -`).
    pub fn run_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> Result<Output, Error> {
        let attempt = || format!("failed to run {}", self.binary.display());
        let mut command = self.command(arguments);
        process::guard(&mut command)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(attempt()))?;
        let stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // If kubectl ends without reading it all, its own message tells more than the broken pipe.
                let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
            });
            child.wait_with_output()
        })
        .map_err(Error::io(attempt()))?;
        let arguments: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        Ok(Output::new(output, format!("kubectl {}", arguments.join(" "))))
    }

    /// Applies manifests given as YAML or JSON text; returns what `kubectl` said.
    pub fn apply(&self, manifests: &str) -> Result<String, Error> {
        self.run_with_input(&["apply", "--filename", "-"], manifests)?.success()
    }

    /// Applies a file, or a directory of files.
    pub fn apply_file(&self, path: &Path) -> Result<String, Error> {
        self.run(&["apply".as_ref(), "--filename".as_ref(), path.as_os_str()])?.success()
    }

    /// Runs `kubectl get ... --output=json`, with `arguments` being what follows `get`.
    pub fn get_json(&self, arguments: &[&str]) -> Result<Value, Error> {
        let all = [&["get", "--output=json"], arguments].concat();
        let text = self.run(&all)?.success()?;
        let what = || format!("what `kubectl {}` printed", all.join(" "));
        serde_json::from_str(&text).map_err(|source| Error::Json { what: what(), source })
    }
}

/// Asks `probe` again and again until it gives a value, at most for `limit`; blocks the thread meanwhile.
///
/// The last error of `probe` is shown when the time is up, so let it say what was seen instead.
pub fn wait_until<T, E: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                return Err(Error::TimedOut { what: what.to_owned(), limit, seen: seen.to_string() });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Between two looks: a run of `kubectl` takes about as long.
const PAUSE: Duration = Duration::from_millis(50);
