//! An image's files on this machine, and its program run among them as a container runtime would run it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::digest::digest;
use crate::Error;

/// An unpacked image.
#[derive(Debug)]
pub struct Root {
    pub folder: PathBuf,
    user: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
}

/// What is in a root, to tell whether it has changed.
#[derive(Debug, Eq, PartialEq)]
pub struct Content(BTreeMap<PathBuf, String>);

/// The PATH that engines give to a container.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// === impl Root ===

impl Root {
    /// The root in a folder, to be run as the `config` of the image's configuration says.
    pub(super) fn new(folder: &Path, config: &Value) -> Result<Self, Error> {
        let words = |name: &str| {
            let words = config[name].as_array().into_iter().flatten();
            words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        let user = config["User"].as_str().unwrap_or_default().to_owned();
        Ok(Self { folder: folder.to_owned(), user, entrypoint: words("Entrypoint"), cmd: words("Cmd") })
    }

    /// The image's program with these arguments, in its own root, as its own user and with no environment but PATH.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (user, group) = self.user.split_once(':').unwrap_or((&self.user, &self.user));
        // Root may enter another root; everybody else may do so in a user namespace, where the system allows them.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("chroot");
            command.arg(format!("--userspec={user}:{group}")).arg(&self.folder);
            command
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", &format!("--map-user={user}"), &format!("--map-group={group}")]);
            command.arg(format!("--root={}", self.folder.display()));
            command
        };
        command.args(&self.entrypoint).args(arguments).env_clear().env("PATH", PATH);
        command
    }

    /// The same with the arguments that the image has of its own.
    pub fn default_command(&self) -> Command {
        self.command(&self.cmd.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The program's path on this machine.
    pub fn program(&self) -> PathBuf {
        let program = self.entrypoint.first().map(String::as_str).unwrap_or_default();
        self.folder.join(program.trim_start_matches('/'))
    }

    /// What is in it now.
    pub fn content(&self) -> Result<Content, Error> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let attempt = || format!("failed to read {}", folder.display());
            for entry in fs::read_dir(&folder).map_err(Error::io(attempt()))? {
                let path = entry.map_err(Error::io(attempt()))?.path();
                if path.is_dir() {
                    found.insert(path.clone(), String::new());
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).map_err(Error::io(attempt()))?;
                    found.insert(path, digest(&bytes));
                }
            }
        }
        Ok(Content(found))
    }
}
