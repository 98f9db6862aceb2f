//! `helm` as a person would type it, bound to one cluster or none.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::control_plane::ControlPlane;
use crate::kubectl::Output;
use crate::tools::{self, Tool};

/// A `helm` with a home of its own and, if wanted, a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Helm {
    directory: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

// === impl Helm ===

impl Helm {
    /// Finds Helm, or builds it if it is nowhere yet. `home` takes what it keeps between two commands, and must not be
    /// shared by clusters: see [`crate::kubectl::Kubectl::new`].
    pub fn obtain(home: &Path) -> Result<Self, Error> {
        Ok(Self { directory: Tool::Helm.directory()?, home: home.to_owned(), kubeconfig: None })
    }

    /// The same as the administrator of a cluster.
    #[must_use]
    pub fn with_cluster(&self, plane: &ControlPlane) -> Self {
        Self { kubeconfig: Some(plane.kubeconfig().to_owned()), ..self.clone() }
    }

    /// The folder of the program, for a PATH.
    pub fn directory(&self) -> &Path {
        &self.directory
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
        let mut command = Tool::Helm.command(arguments)?;
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") {
                command.env_remove(name);
            }
        }
        // Without a cluster, none of the person's must be found.
        let nowhere = self.home.join("no-kubeconfig");
        command.envs(self.variables()).env("KUBECONFIG", self.kubeconfig.as_ref().unwrap_or(&nowhere));
        tools::run(command)
    }
}
