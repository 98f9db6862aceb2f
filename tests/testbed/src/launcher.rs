//! The one way in which tests, the demo, benchmarks and the image's trial start the operator.
//!
//! A child gets the kubeconfig, and the leave to call gateways on this machine, where all simulators are. It serves
//! neither health nor metrics unless a flag asks for it, so that no two children fight for a port.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::control_plane::ControlPlane;
use crate::process::Guarded;

/// How an operator is to be started.
#[derive(Clone, Debug)]
pub struct Launcher {
    kubeconfig: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    loopback: bool,
}

/// The flag that switches off the page for probes.
pub const PROBES_OFF: &str = "--health-probe-bind-address=0";
/// The flag that switches off the page with metrics.
pub const METRICS_OFF: &str = "--metrics-bind-address=0";
/// The flag that makes the log readable where a test shows it.
pub const TEXT_LOG: &str = "--log-format=text";

/// The namespace of the operator that the manifests install.
pub const NAMESPACE: &str = "testinium-system";
/// The ServiceAccount of the operator that the manifests install.
pub const SERVICE_ACCOUNT: &str = "testinium-operator";

/// The kubeconfig of the operator that the manifests install, with the RBAC that ships.
pub fn kubeconfig(plane: &ControlPlane) -> Result<PathBuf, Error> {
    plane.kubeconfig_for_service_account(NAMESPACE, SERVICE_ACCOUNT)
}

// === impl Launcher ===

impl Launcher {
    pub fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), flags: Vec::new(), environment: Vec::new(), loopback: true }
    }

    /// More flags, to come after `run`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Serves these namespaces alone.
    pub fn watching(self, namespaces: &[&str]) -> Self {
        self.flags(&[&format!("--watch-namespaces={}", namespaces.join(","))])
    }

    /// More variables in its environment.
    pub fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment
            .extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Leaves the rule for addresses as it ships: no gateway may be on this machine.
    pub fn without_loopback(self) -> Self {
        Self { loopback: false, ..self }
    }

    /// The command that runs this binary.
    pub fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.arg("run");
        self.complete(&mut command);
        command
    }

    /// Adds environment and flags to a command that runs an operator already, such as an image's.
    pub fn complete(&self, command: &mut Command) {
        command.env("KUBECONFIG", &self.kubeconfig).args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if self.loopback {
            command.arg("--allow-gateway-cidr=127.0.0.0/8");
        }
        for off in [PROBES_OFF, METRICS_OFF] {
            let flag = off.trim_end_matches("=0");
            if !self.flags.iter().any(|given| given.starts_with(flag)) {
                command.arg(off);
            }
        }
    }

    /// Starts this binary; its output is appended to the file `log`.
    pub fn spawn(&self, binary: &Path, log: &Path) -> Result<Guarded, Error> {
        Guarded::spawn(self.command(binary), log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_off_unless_a_flag_asks_for_them() {
        let launcher = Launcher::new(Path::new("k")).watching(&["a", "b"]);
        let arguments = |launcher: Launcher| {
            let command = launcher.command(Path::new("operator"));
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let loopback = "--allow-gateway-cidr=127.0.0.0/8";
        let watched = "--watch-namespaces=a,b";
        assert_eq!(arguments(launcher.clone()), ["run", watched, loopback, PROBES_OFF, METRICS_OFF]);
        let launcher = launcher.without_loopback().flags(&["--metrics-bind-address", ":0"]);
        assert_eq!(arguments(launcher), ["run", watched, "--metrics-bind-address", ":0", PROBES_OFF]);
    }
}
