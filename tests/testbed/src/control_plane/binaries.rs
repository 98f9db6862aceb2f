//! Where kube-apiserver, etcd and kubectl come from.
//!
//! ```text
//! KUBEBUILDER_ASSETS -> else the per-user cache -> else `go build` of the modules that tests/kubernetes pins, into it
//! ```
//!
//! The cache's name contains a hash of the pins and of the flags, so a change of either builds anew and two
//! checkouts don't disturb each other. A build takes minutes and may be wanted by several test processes at
//! once: one builds under a file lock, into a directory that gets its final name when it is complete.

use std::env;
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Error;
use crate::process::{self, Guarded};

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
        let cache = cache_directory()?;
        let directory = cache.join(format!("kubernetes-{:016x}", pins()));
        if !directory.is_dir() {
            fs::create_dir_all(&cache).map_err(Error::io(format!("failed to create {}", cache.display())))?;
            build_once(&directory)?;
        }
        Ok(Binaries { directory })
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

/// One call of `go build`.
#[derive(Hash)]
struct Build {
    what: &'static str,
    /// A folder in tests/kubernetes with a go.mod of its own.
    module: &'static str,
    packages: &'static [&'static str],
    /// A file name if there is one package, empty for the packages' own names.
    output: &'static str,
    /// Strips symbols, which halves the size, and sets the versions that Kubernetes' own build would set.
    linker_flags: &'static str,
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

/// Flags of every build. `-v` names each package as it is compiled, which is the progress that is shown.
const FLAGS: [&str; 4] = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly"];

/// The version of Go that the go.mod files demand.
const GO_VERSION: &str = "1.26";

const PINS: [&str; 4] = [
    include_str!("../../../kubernetes/kubernetes/go.mod"),
    include_str!("../../../kubernetes/kubernetes/go.sum"),
    include_str!("../../../kubernetes/etcd/go.mod"),
    include_str!("../../../kubernetes/etcd/go.sum"),
];

/// A hash of all that decides what is built. It may change with the version of Rust; that costs a build.
fn pins() -> u64 {
    let mut hasher = DefaultHasher::new();
    (PINS, FLAGS, BUILDS).hash(&mut hasher);
    hasher.finish()
}

fn cache_directory() -> Result<PathBuf, Error> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or(Error::NoCache { wanted: "kube-apiserver, etcd and kubectl" })?;
    Ok(cache.join("testinium-operator"))
}

fn build_once(directory: &Path) -> Result<(), Error> {
    // The lock's file stays: removing it would let two processes hold locks on different files of one name.
    let path = directory.with_extension("lock");
    let lock = File::create(&path).map_err(Error::io(format!("failed to create {}", path.display())))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("waiting for kube-apiserver, etcd and kubectl, which another test is building");
            lock.lock().map_err(Error::io(format!("failed to lock {}", path.display())))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(Error::io(format!("failed to lock {}", path.display()))(error));
        }
    }
    if directory.is_dir() {
        return Ok(());
    }
    // The process that left this behind was killed while building; the lock says that nobody uses it now.
    let partial = directory.with_extension("partial");
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("failed to remove {}", partial.display()))(error));
        }
        _ => {}
    }
    fs::create_dir(&partial).map_err(Error::io(format!("failed to create {}", partial.display())))?;
    for build in &BUILDS {
        build.run(&partial)?;
    }
    fs::rename(&partial, directory).map_err(Error::io(format!("failed to rename {}", partial.display())))?;
    say(&format!("kube-apiserver, etcd and kubectl are in {} from now on", directory.display()));
    Ok(())
}

// === impl Build ===

impl Build {
    fn run(&self, directory: &Path) -> Result<(), Error> {
        let work = process::temporary_directory("testinium-build-")?;
        let log = work.path().join("log");
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kubernetes").join(self.module);
        let mut command = Command::new("go");
        command
            .current_dir(&module)
            .env("CGO_ENABLED", "0")
            // The pins say what is built; neither a toolchain nor a workspace from elsewhere may join in.
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .arg("build")
            .args(FLAGS)
            .arg("-ldflags")
            .arg(self.linker_flags)
            .arg("-o")
            .arg(directory.join(self.output))
            .args(self.packages);
        let started = Instant::now();
        say(&format!("building {} with go, once; this takes minutes", self.what));
        let mut go = Guarded::spawn(command, &log).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                Error::GoMissing { required: GO_VERSION }
            }
            other => other,
        })?;
        let status = loop {
            match go.wait(PROGRESS)? {
                Some(status) => break status,
                None => {
                    let packages = fs::read_to_string(&log).unwrap_or_default().lines().count();
                    let seconds = started.elapsed().as_secs();
                    say(&format!("building {}: {seconds} s, {packages} packages", self.what));
                }
            }
        };
        if !status.success() {
            let (what, output) = (self.what, go.log_tail());
            return Err(Error::Build { what, required: GO_VERSION, status, output });
        }
        Ok(())
    }
}

/// Writes past the capture of `cargo test`, which would hide for minutes why nothing happens.
fn say(line: &str) {
    // If nobody listens, nothing is lost.
    let _ = writeln!(std::io::stderr(), "testbed: {line}");
}

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

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
