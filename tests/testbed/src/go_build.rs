//! Programs that are built once from pinned Go modules, and kept in the user's cache folder.
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

/// Programs that are wanted together: they are built one after the other, into one directory.
pub(crate) struct Programs {
    /// The beginning of the directory's name in the cache.
    pub(crate) name: &'static str,
    /// Their names, for messages.
    pub(crate) what: &'static str,
    /// What somebody without Go can do, to follow "install Go".
    pub(crate) otherwise: &'static str,
    /// The texts that say what is built: each go.mod and go.sum.
    pub(crate) pins: &'static [&'static str],
    pub(crate) builds: &'static [Build],
}

/// One call of `go build`.
#[derive(Hash)]
pub(crate) struct Build {
    pub(crate) what: &'static str,
    /// A folder in tests/kubernetes with a go.mod of its own.
    pub(crate) module: &'static str,
    /// What is built, after flags that this build alone has.
    pub(crate) packages: &'static [&'static str],
    /// A file name if there is one package, empty for the packages' own names.
    pub(crate) output: &'static str,
    /// Strips symbols, which halves the size, and sets the versions that a program's own build would set.
    pub(crate) linker_flags: &'static str,
}

/// Flags of every build. `-v` names each package as it is compiled, which is the progress that is shown.
const FLAGS: [&str; 4] = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly"];

/// The version of Go that the go.mod files demand.
const GO_VERSION: &str = "1.26";

// === impl Programs ===

impl Programs {
    /// The directory that holds them; they are built if they are nowhere yet.
    pub(crate) fn obtain(&self) -> Result<PathBuf, Error> {
        let cache = cache_directory(self.what)?;
        let directory = cache.join(format!("{}-{:016x}", self.name, self.hash()));
        if !directory.is_dir() {
            fs::create_dir_all(&cache).map_err(Error::io(format!("failed to create {}", cache.display())))?;
            self.build_once(&directory)?;
        }
        Ok(directory)
    }

    /// A hash of all that decides what is built. It may change with the version of Rust; that costs a build.
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.pins, FLAGS, self.builds).hash(&mut hasher);
        hasher.finish()
    }

    fn build_once(&self, directory: &Path) -> Result<(), Error> {
        // The lock's file stays: removing it would let two processes hold locks on different files of one name.
        let path = beside(directory, "lock");
        let lock = File::create(&path).map_err(Error::io(format!("failed to create {}", path.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(&format!("waiting for {}, which another test is building", self.what));
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
        let partial = beside(directory, "partial");
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format!("failed to remove {}", partial.display()))(error));
            }
            _ => {}
        }
        fs::create_dir(&partial).map_err(Error::io(format!("failed to create {}", partial.display())))?;
        for build in self.builds {
            build.run(self, &partial)?;
        }
        fs::rename(&partial, directory)
            .map_err(Error::io(format!("failed to rename {}", partial.display())))?;
        say(&format!("in {} from now on: {}", directory.display(), self.what));
        Ok(())
    }
}

/// The path of that name with this ending. The name may hold a dot, which begins no ending.
fn beside(directory: &Path, ending: &str) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!("{name}.{ending}"))
}

fn cache_directory(wanted: &'static str) -> Result<PathBuf, Error> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or(Error::NoCache { wanted })?.join("testinium-operator"))
}

// === impl Build ===

impl Build {
    fn run(&self, programs: &Programs, directory: &Path) -> Result<(), Error> {
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
                let (wanted, otherwise) = (programs.what, programs.otherwise);
                Error::GoMissing { wanted, required: GO_VERSION, otherwise }
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
