//! The image that a build would make of this repository, made without a container engine.
//!
//! ```text
//! .dockerignore, files -> the first stage's folder -> the Dockerfile's own commands -> the last stage's folder -> chroot
//! ```
//!
//! A stage that begins with `scratch` begins with an empty folder. Any other base image is this machine: commands run
//! here with the tools installed here, in a folder that stands for the stage's, and what is copied from outside of that
//! folder is this machine's own. Nothing is listed a second time, so nothing can differ from the Dockerfile unnoticed.

mod dockerfile;
mod ignore;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::dockerfile::{Stage, Step};
use self::ignore::Ignore;
use crate::{Error, process};

/// The last stage: an empty root but for what the Dockerfile copies into it, and how it is to be run.
#[derive(Debug)]
pub struct Image {
    pub root: PathBuf,
    user: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
}

/// The stages so far, and where their files are.
#[derive(Debug)]
struct Work<'a> {
    repository: &'a Path,
    directory: &'a Path,
    stages: Vec<&'a Stage>,
}

/// The settings that the steps of a stage leave to those that follow.
#[derive(Debug, Default)]
struct Settings {
    workdir: String,
    environment: Vec<(String, String)>,
    user: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
}

/// Builds what `repository`'s Dockerfile describes. The files in `directory` from an earlier time make it faster.
pub fn build(repository: &Path, directory: &Path) -> Result<Image, Error> {
    let stages = dockerfile::parse(&read(&repository.join("Dockerfile"))?)?;
    let mut work = Work { repository, directory, stages: Vec::new() };
    let mut last = Settings::default();
    for stage in &stages {
        last = work.run(stage)?;
    }
    let root = work.folder(work.stages.len() - 1);
    if work.stages.last().is_none_or(|stage| stage.base != SCRATCH) {
        return Err(Error::Image(
            "Dockerfile: the last stage must be FROM scratch to be run here".to_owned(),
        ));
    }
    Ok(Image { root, user: last.user, entrypoint: last.entrypoint, cmd: last.cmd })
}

// === impl Image ===

impl Image {
    /// The image's program with these arguments, in its own root, as its own user and with no environment but PATH.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (user, group) = self.user.split_once(':').unwrap_or((&self.user, &self.user));
        // Root may enter another root; everybody else may do so in a user namespace, where the system allows them.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("chroot");
            command.arg(format!("--userspec={user}:{group}")).arg(&self.root);
            command
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", &format!("--map-user={user}"), &format!("--map-group={group}")]);
            command.arg(format!("--root={}", self.root.display()));
            command
        };
        command.args(&self.entrypoint).args(arguments).env_clear().env("PATH", PATH);
        command
    }

    /// The same with the arguments that the image has of its own.
    pub fn default_command(&self) -> Command {
        self.command(&self.cmd.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

// === impl Work ===

impl<'a> Work<'a> {
    fn run(&mut self, stage: &'a Stage) -> Result<Settings, Error> {
        self.stages.push(stage);
        let root = self.folder(self.stages.len() - 1);
        if stage.base == SCRATCH && root.exists() {
            fs::remove_dir_all(&root).map_err(Error::io(format!("failed to remove {}", root.display())))?;
        }
        make_folder(&root)?;
        let mut settings = Settings { workdir: "/".to_owned(), ..Settings::default() };
        for step in &stage.steps {
            self.step(stage, &root, step, &mut settings)?;
        }
        Ok(settings)
    }

    fn step(&self, stage: &Stage, root: &Path, step: &Step, settings: &mut Settings) -> Result<(), Error> {
        match step {
            Step::Workdir(path) => {
                settings.workdir.clone_from(path);
                make_folder(&within(root, path))
            }
            Step::Env(name, value) => {
                settings.environment.push((name.clone(), value.clone()));
                Ok(())
            }
            Step::Run(_) if stage.base == SCRATCH => Err(cannot("run a command in an empty image")),
            Step::Run(line) => run(line, &within(root, &settings.workdir), &settings.environment),
            Step::Copy { from: None, sources, target } if sources[..] == ["."] => {
                self.copy_context(&within(root, &settings.workdir).join(target))
            }
            Step::Copy { from: Some(from), sources, target }
                if sources.len() == 1 && target.starts_with('/') =>
            {
                self.copy_between(from, &sources[0], &within(root, target))
            }
            Step::Copy { .. } => {
                Err(cannot("copy anything but '.', or one path of another stage to another"))
            }
            Step::User(user) => {
                settings.user.clone_from(user);
                Ok(())
            }
            Step::Entrypoint(words) => {
                settings.entrypoint.clone_from(words);
                Ok(())
            }
            Step::Cmd(words) => {
                settings.cmd.clone_from(words);
                Ok(())
            }
        }
    }

    /// Files that are the same stay untouched: Cargo would take them for new ones. What the stage's commands have made
    /// in Cargo's folder stays too.
    fn copy_context(&self, target: &Path) -> Result<(), Error> {
        let files = Ignore::parse(&read(&self.repository.join(".dockerignore"))?)?.files(self.repository)?;
        for stale in Ignore::parse("target")?.files(target)? {
            if files.binary_search(&stale).is_err() {
                let path = target.join(stale);
                fs::remove_file(&path).map_err(Error::io(format!("failed to remove {}", path.display())))?;
            }
        }
        for file in &files {
            let (source, target) = (self.repository.join(file), target.join(file));
            if fs::read(&target).ok() != Some(read_bytes(&source)?) {
                copy(&source, &target)?;
            }
        }
        Ok(())
    }

    fn copy_between(&self, from: &str, source: &str, target: &Path) -> Result<(), Error> {
        let index = self.stages.iter().position(|stage| stage.name == from && !from.is_empty());
        let index = index.ok_or_else(|| cannot(&format!("copy from {from}, which is no stage")))?;
        let made = within(&self.folder(index), source);
        // A file that the stage has not made comes from its base image.
        let is_base = !made.exists() && self.stages[index].base != SCRATCH;
        copy(if is_base { Path::new(source) } else { &made }, target)
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.directory.join(format!("stage-{index}"))
    }
}

/// Runs a line of the Dockerfile with nothing of the environment but what leads to the tools and to the network.
fn run(line: &str, folder: &Path, environment: &[(String, String)]) -> Result<(), Error> {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).stdin(Stdio::null()).env_clear();
    let kept = |name: &str| {
        let name = name.to_uppercase();
        TOOLS.contains(&name.as_str())
            || name.ends_with("_PROXY")
            || ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "SSL_CERT_"]
                .iter()
                .any(|p| name.starts_with(p))
    };
    command.envs(std::env::vars().filter(|(name, _)| kept(name)));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    process::guard(&mut command)?;
    let status = command.status().map_err(Error::io("failed to run sh"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Image(format!("the Dockerfile's command ended with {status}: {line}")))
    }
}

/// Where an absolute path of a stage lies on this machine.
fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    make_folder(target.parent().unwrap_or(target))?;
    let attempt = || format!("failed to copy {} to {}", source.display(), target.display());
    fs::copy(source, target).map_err(Error::io(attempt())).map(drop)
}

/// Folders that everybody may enter, whatever this process's umask is: the image's user is another.
fn make_folder(path: &Path) -> Result<(), Error> {
    let attempt = || format!("failed to make the folder {}", path.display());
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(Error::io(attempt()))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io(format!("failed to read {}", path.display())))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io(format!("failed to read {}", path.display())))
}

fn cannot(what: &str) -> Error {
    Error::Image(format!("Dockerfile: without an engine it is not possible to {what}"))
}

const SCRATCH: &str = "scratch";

/// The PATH that engines give to a container.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables without which the tools of this machine are not found.
const TOOLS: [&str; 6] = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &str = "\
FROM debian AS build
WORKDIR /src
ENV GREETING=hello
COPY . .
RUN ls > listing && \\
    echo $GREETING $CARGO_MANIFEST_DIR >> listing
FROM scratch
COPY --from=build /etc/passwd /etc/users
COPY --from=build /src/listing /listing
USER 7:8
ENTRYPOINT [\"/listing\", \"x\"]
CMD [\"y\"]
";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("a file");
        }
        directory
    }

    #[test]
    fn stages_see_what_is_not_ignored_and_the_last_holds_what_is_copied() {
        let files =
            [("Dockerfile", DOCKERFILE), (".dockerignore", "*\n!a*\n"), ("a1", ""), ("a2", ""), ("b", "")];
        let (repository, directory) = (repository(&files), tempfile::tempdir().expect("a directory"));
        let listing = || {
            let image = build(repository.path(), directory.path()).expect("it builds");
            assert!(!image.root.join("src").exists());
            assert!(image.root.join("etc/users").is_file(), "the base image brings it");
            let words: Vec<_> = image.default_command().get_args().map(|word| word.to_os_string()).collect();
            assert_eq!(words[words.len() - 3..], ["/listing", "x", "y"], "{words:?}");
            fs::read_to_string(image.root.join("listing")).expect("it was copied")
        };
        assert_eq!(listing(), "a1\na2\nlisting\nhello\n");
        fs::remove_file(repository.path().join("a1")).expect("it was there");
        fs::write(repository.path().join("a3"), "").expect("a file");
        assert_eq!(listing(), "a2\na3\nlisting\nhello\n", "nothing is left of the first time");
    }

    #[test]
    fn what_fails_or_needs_an_engine_is_told() {
        for (dockerfile, expected) in [
            ("FROM debian AS build\nRUN exit 3\nFROM scratch\n", "exit status: 3: exit 3"),
            ("FROM scratch\nRUN ls\n", "run a command in an empty image"),
            ("FROM debian\nWORKDIR /src\n", "must be FROM scratch"),
            ("FROM scratch\nCOPY --from=nothing /a /b\n", "nothing, which is no stage"),
            ("FROM scratch\nCOPY a b\n", "copy anything but '.'"),
        ] {
            let repository = repository(&[("Dockerfile", dockerfile), (".dockerignore", "*")]);
            let directory = tempfile::tempdir().expect("a directory");
            let error = build(repository.path(), directory.path()).expect_err(dockerfile).to_string();
            assert!(error.contains(expected), "{dockerfile}: {error}");
        }
    }
}
