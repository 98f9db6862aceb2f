//! `helm` as a person would type it, and helm-unittest.
//!
//! Always the pinned ones, built as the control plane's programs are: another version on the PATH would render, and
//! refuse, other things.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::control_plane::ControlPlane;
use crate::go_build::{Build, Programs};
use crate::kubectl::Output;
use crate::{Error, process};

/// A `helm` with a home of its own and, if wanted, a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Helm {
    programs: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

// === impl Helm ===

impl Helm {
    /// Finds Helm, or builds it if it is nowhere yet. `home` takes what it keeps between two commands, and must not be
    /// shared by clusters: see [`crate::kubectl::Kubectl::new`].
    pub fn obtain(home: &Path) -> Result<Self, Error> {
        Ok(Self { programs: PROGRAMS.obtain()?, home: home.to_owned(), kubeconfig: None })
    }

    /// The same as the administrator of a cluster.
    #[must_use]
    pub fn with_cluster(&self, plane: &ControlPlane) -> Self {
        Self { kubeconfig: Some(plane.kubeconfig().to_owned()), ..self.clone() }
    }

    /// The folder of the programs, for a PATH.
    pub fn directory(&self) -> &Path {
        &self.programs
    }

    /// The variables that keep Helm to its home, where a person's own settings don't reach it.
    pub fn variables(&self) -> [(&'static str, PathBuf); 4] {
        let below = |name: &str| self.home.join(name);
        [
            ("HELM_CACHE_HOME", below("helm-cache")),
            ("HELM_CONFIG_HOME", below("helm-config")),
            ("HELM_DATA_HOME", below("helm-data")),
            ("KUBECACHEDIR", below("kube-cache")),
        ]
    }

    /// Runs a command to its end. A status other than zero is no error here: see [`Output::success`].
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.run_program(HELM, arguments)
    }

    /// Runs helm-unittest to its end.
    pub fn unittest<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.run_program(UNITTEST, arguments)
    }

    fn run_program<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Result<Output, Error> {
        let mut command = Command::new(self.programs.join(program));
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).envs(self.variables());
        // Without a cluster, none of the person's must be found.
        let nowhere = self.home.join("no-kubeconfig");
        command.env("KUBECONFIG", self.kubeconfig.as_ref().unwrap_or(&nowhere));
        process::guard(&mut command)?;
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("failed to run {}", self.programs.join(program).display())))?;
        let arguments: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        Ok(Output::new(output, format!("{program} {}", arguments.join(" "))))
    }
}

/// The pinned Helm with these arguments and the environment as it is, for a person.
pub fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Command, Error> {
    let mut command = Command::new(PROGRAMS.obtain()?.join(HELM));
    command.args(arguments);
    Ok(command)
}

const HELM: &str = "helm";
const UNITTEST: &str = "helm-unittest";

const BUILDS: [Build; 2] = [
    Build {
        what: "Helm",
        module: "helm",
        packages: &["helm.sh/helm/v4/cmd/helm"],
        output: HELM,
        linker_flags: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
    },
    Build {
        what: "helm-unittest",
        module: "helm-unittest",
        packages: &["github.com/helm-unittest/helm-unittest/cmd/helm-unittest"],
        output: UNITTEST,
        linker_flags: "-s -w",
    },
];

const PINS: [&str; 4] = [
    include_str!("../../kubernetes/helm/go.mod"),
    include_str!("../../kubernetes/helm/go.sum"),
    include_str!("../../kubernetes/helm-unittest/go.mod"),
    include_str!("../../kubernetes/helm-unittest/go.sum"),
];

const PROGRAMS: Programs =
    Programs { name: "helm", what: "Helm and helm-unittest", otherwise: "", pins: &PINS, builds: &BUILDS };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_helm_tells_is_the_one_that_is_pinned() {
        let [helm, ..] = PINS;
        let pinned = helm
            .lines()
            .find_map(|line| line.trim().strip_prefix("helm.sh/helm/v4 "))
            .and_then(|rest| rest.split_whitespace().next())
            .expect("go.mod requires helm.sh/helm/v4");
        let [flags, _] = BUILDS.map(|build| build.linker_flags);
        assert!(flags.ends_with(&format!("version.version={pinned}")), "{pinned} is not in {flags}");
    }
}
