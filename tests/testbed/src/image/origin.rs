//! Where an image comes from: the version, the commit, the time and the place of its sources.

use std::path::Path;
use std::process::Command;

use jiff::Timestamp;

/// What an image says of its origin.
#[derive(Clone, Debug)]
pub struct Origin {
    pub version: String,
    /// The commit, with `-dirty` if files differ from it; empty outside of a repository.
    pub revision: String,
    /// The commit's time: the time of the build would make each build another image.
    pub created: String,
    /// The address where the sources are; empty if nobody gave it.
    pub source: String,
}

// === impl Origin ===

impl Origin {
    /// The origin of what is in this folder.
    pub fn of(repository: &Path, source: &str) -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(repository).args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let revision = git(&["rev-parse", "HEAD"]).unwrap_or_default();
        let is_dirty = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
        let seconds = git(&["log", "-1", "--format=%ct"]).and_then(|seconds| seconds.parse().ok());
        let created = Timestamp::from_second(seconds.unwrap_or_default()).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: if is_dirty { format!("{revision}-dirty") } else { revision },
            created: created.to_string(),
            source: source.to_owned(),
        }
    }

    /// Whether it is a commit's, and nothing was changed since.
    pub fn is_committed(&self) -> bool {
        !self.revision.is_empty() && !self.revision.ends_with("-dirty")
    }
}
