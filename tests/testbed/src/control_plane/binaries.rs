//! Where kube-apiserver, etcd and kubectl come from.
//!
//! ```text
//! KUBEBUILDER_ASSETS -> else the per-user cache -> else `go build` of the modules that tests/kubernetes pins, into it
//! ```

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::go_build::{Build, Programs};

/// The programs of one version of Kubernetes.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
}

// === impl Binaries ===

impl Binaries {
    /// Finds the programs, or builds them if they are nowhere yet.
    pub fn obtain() -> Result<Binaries, Error> {
        if let Some(directory) = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()) {
            return Binaries::given(PathBuf::from(directory));
        }
        Ok(Binaries { directory: PROGRAMS.obtain()? })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn kube_apiserver(&self) -> PathBuf {
        self.directory.join(KUBE_APISERVER)
    }

    pub fn etcd(&self) -> PathBuf {
        self.directory.join(ETCD)
    }

    pub fn kubectl(&self) -> PathBuf {
        self.directory.join(KUBECTL)
    }

    fn given(directory: PathBuf) -> Result<Binaries, Error> {
        for name in [KUBE_APISERVER, ETCD, KUBECTL] {
            if !directory.join(name).is_file() {
                return Err(Error::AssetMissing { name, directory });
            }
        }
        Ok(Binaries { directory })
    }
}

const KUBE_APISERVER: &str = "kube-apiserver";
const ETCD: &str = "etcd";
const KUBECTL: &str = "kubectl";

const BUILDS: [Build; 2] = [
    Build {
        what: "kube-apiserver and kubectl",
        module: "kubernetes",
        packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
        output: "",
        linker_flags: "-s -w \
            -X k8s.io/component-base/version.gitVersion=v1.37.2 \
            -X k8s.io/component-base/version.gitMajor=1 \
            -X k8s.io/component-base/version.gitMinor=37 \
            -X k8s.io/component-base/version.gitTreeState=clean \
            -X k8s.io/client-go/pkg/version.gitVersion=v1.37.2 \
            -X k8s.io/client-go/pkg/version.gitCommit=unknown",
    },
    Build {
        what: "etcd",
        module: "etcd",
        packages: &["go.etcd.io/etcd/server/v3"],
        output: ETCD,
        linker_flags: "-s -w",
    },
];

const PINS: [&str; 4] = [
    include_str!("../../../kubernetes/kubernetes/go.mod"),
    include_str!("../../../kubernetes/kubernetes/go.sum"),
    include_str!("../../../kubernetes/etcd/go.mod"),
    include_str!("../../../kubernetes/etcd/go.sum"),
];

const PROGRAMS: Programs = Programs {
    name: "kubernetes",
    what: "kube-apiserver, etcd and kubectl",
    otherwise: ", or set KUBEBUILDER_ASSETS to a directory that holds the three",
    pins: &PINS,
    builds: &BUILDS,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_the_binaries_tell_is_the_one_that_is_pinned() {
        let [kubernetes, ..] = PINS;
        let pinned = kubernetes
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
            .and_then(|rest| rest.split_whitespace().next())
            .expect("go.mod requires k8s.io/kubernetes");
        let [flags, _] = BUILDS.map(|build| build.linker_flags);
        assert_eq!(flags.matches(&format!("gitVersion={pinned} ")).count(), 2, "{pinned} is not in {flags}");
    }
}
