//! Where kube-apiserver, etcd and kubectl come from, and of which version of Kubernetes they are.
//!
//! ```text
//! KUBEBUILDER_ASSETS -> else the per-user cache -> else `go build` of the modules that tests/kubernetes pins, into it
//! ```
//!
//! `KUBERNETES_VERSION` chooses a version for a whole process, such as `KUBERNETES_VERSION=1.33 cargo test`. Without it
//! the newest is taken. All run on the one etcd.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::go_build::{Build, Programs};
use crate::{Error, process};

/// The programs of one version of Kubernetes.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
    version: Version,
}

/// A version of Kubernetes, such as 1.37. The major version is 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    pub minor: u32,
}

/// A version that can be built.
struct Release {
    version: Version,
    programs: Programs,
}

// === impl Binaries ===

impl Binaries {
    /// Finds the programs of the version that is wanted, or builds them if they are nowhere yet.
    pub fn obtain() -> Result<Binaries, Error> {
        let wanted = Version::wanted()?;
        if let Some(directory) = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()) {
            return Binaries::given(PathBuf::from(directory), wanted);
        }
        let release = wanted.map_or(Release::newest(), Release::of);
        Ok(Binaries { directory: release.programs.obtain()?, version: release.version })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn version(&self) -> Version {
        self.version
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

    fn given(directory: PathBuf, wanted: Option<Version>) -> Result<Binaries, Error> {
        for name in [KUBE_APISERVER, ETCD, KUBECTL] {
            if !directory.join(name).is_file() {
                return Err(Error::AssetMissing { name, directory });
            }
        }
        let version = Version::of_program(&directory.join(KUBE_APISERVER))?;
        match wanted {
            Some(wanted) if wanted != version => {
                Err(Error::OtherVersion { wanted: wanted.to_string(), given: version.to_string(), directory })
            }
            _ => Ok(Binaries { directory, version }),
        }
    }
}

// === impl Version ===

impl Version {
    pub const V1_34: Version = Version { minor: 34 };
    pub const V1_36: Version = Version { minor: 36 };

    /// The version that the variable asks for, if it is set.
    fn wanted() -> Result<Option<Version>, Error> {
        let value = env::var_os("KUBERNETES_VERSION").filter(|value| !value.is_empty());
        value.map(|value| value.to_string_lossy().parse()).transpose()
    }

    /// The version that a kube-apiserver tells of itself.
    fn of_program(kube_apiserver: &Path) -> Result<Version, Error> {
        let attempt = || format!("failed to ask {} for its version", kube_apiserver.display());
        let mut command = Command::new(kube_apiserver);
        command.arg("--version");
        process::guard(&mut command)?;
        let output = command.output().map_err(Error::io(attempt()))?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let minor = told.trim().strip_prefix("Kubernetes v1.").and_then(|rest| rest.split('.').next());
        match minor.and_then(|minor| minor.parse().ok()) {
            Some(minor) => Ok(Version { minor }),
            None => Err(Error::io(attempt())(std::io::Error::other(format!("it said {told:?}")))),
        }
    }
}

impl FromStr for Version {
    type Err = Error;

    /// One of those that can be built.
    fn from_str(text: &str) -> Result<Self, Error> {
        let known = RELEASES.iter().map(|release| release.version);
        known.clone().find(|version| version.to_string() == text).ok_or_else(|| Error::UnknownVersion {
            wanted: text.to_owned(),
            known: known.map(|version| version.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

// === impl Release ===

impl Release {
    fn newest() -> &'static Release {
        &RELEASES[0]
    }

    /// The release of a version that was parsed.
    fn of(version: Version) -> &'static Release {
        RELEASES.iter().find(|release| release.version == version).unwrap_or(Release::newest())
    }
}

const KUBE_APISERVER: &str = "kube-apiserver";
const ETCD: &str = "etcd";
const KUBECTL: &str = "kubectl";

/// A release by its minor and patch version and the folder of its go.mod.
macro_rules! release {
    ($minor:literal, $patch:literal, $module:literal) => {
        Release {
            version: Version { minor: $minor },
            programs: Programs {
                name: $module,
                what: "kube-apiserver, etcd and kubectl",
                otherwise: ", or set KUBEBUILDER_ASSETS to a directory that holds the three",
                pins: &[
                    include_str!(concat!("../../../kubernetes/", $module, "/go.mod")),
                    include_str!(concat!("../../../kubernetes/", $module, "/go.sum")),
                    include_str!("../../../kubernetes/etcd/go.mod"),
                    include_str!("../../../kubernetes/etcd/go.sum"),
                ],
                builds: &[
                    Build {
                        what: "kube-apiserver and kubectl",
                        module: $module,
                        packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
                        output: "",
                        linker_flags: concat!(
                            "-s -w -X k8s.io/component-base/version.gitVersion=v1.",
                            $minor,
                            ".",
                            $patch,
                            " -X k8s.io/component-base/version.gitMajor=1",
                            " -X k8s.io/component-base/version.gitMinor=",
                            $minor,
                            " -X k8s.io/component-base/version.gitTreeState=clean",
                            " -X k8s.io/client-go/pkg/version.gitVersion=v1.",
                            $minor,
                            ".",
                            $patch,
                            " -X k8s.io/client-go/pkg/version.gitCommit=unknown"
                        ),
                    },
                    Build {
                        what: "etcd",
                        module: "etcd",
                        packages: &["go.etcd.io/etcd/server/v3"],
                        output: ETCD,
                        linker_flags: "-s -w",
                    },
                ],
            },
        }
    };
}

/// The newest first.
static RELEASES: [Release; 5] = [
    release!(37, 2, "kubernetes"),
    release!(36, 3, "kubernetes-1.36"),
    release!(35, 4, "kubernetes-1.35"),
    release!(34, 4, "kubernetes-1.34"),
    release!(33, 13, "kubernetes-1.33"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_the_binaries_tell_is_the_one_that_is_pinned() {
        for Release { version, programs } in &RELEASES {
            let pinned = programs.pins[0]
                .lines()
                .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
                .and_then(|rest| rest.split_whitespace().next())
                .expect("go.mod requires k8s.io/kubernetes");
            let flags = programs.builds[0].linker_flags;
            assert_eq!(
                flags.matches(&format!("gitVersion={pinned} ")).count(),
                2,
                "{pinned} is not in {flags}"
            );
            assert!(pinned.starts_with(&format!("v{version}.")), "{pinned} is no {version}");
        }
    }

    #[test]
    fn a_version_is_read_and_one_that_is_unknown_is_told_with_all_that_are_known() {
        for text in ["1.33", "1.34", "1.35", "1.36", "1.37"] {
            let version: Version = text.parse().expect("it is known");
            assert_eq!(Release::of(version).version.to_string(), text);
        }
        for text in ["1.32", "1.4", "33", "v1.33", "1.33.13", "latest"] {
            let error = text.parse::<Version>().expect_err("it is unknown").to_string();
            assert!(error.contains(text) && error.ends_with("1.37, 1.36, 1.35, 1.34, 1.33"), "{error}");
        }
    }
}
