//! The command `control-plane`: what it leaves behind when it is killed, and where it finds its programs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testinium_testbed::kubectl::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_control-plane"))
}

/// A child that a failing test does not leave running.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_is_left_when_it_is_killed() {
    let mut child = Killed(command().stdout(Stdio::piped()).spawn().expect("it starts"));
    let output = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let lines: Vec<String> = output.lines().take(3).map(|line| line.expect("a line")).collect();
    let kubeconfig =
        PathBuf::from(lines[0].strip_prefix("export KUBECONFIG=").expect("it tells its kubeconfig"));
    let server = server(&kubeconfig);
    let pids: Vec<u32> = lines[2].split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(pids.len(), 2, "{}", lines[2]);
    TcpStream::connect(&server).expect("the API server listens");

    child.0.kill().expect("SIGKILL, which nobody can prepare for");
    child.0.wait().expect("it is gone");

    wait_until("the servers and their files to be gone", LIMIT, || {
        let directory = kubeconfig.parent().expect("it lies in a directory");
        let left: Vec<_> = pids.iter().filter(|pid| runs(**pid)).collect();
        let listens = TcpStream::connect(&server).is_ok();
        if left.is_empty() && !listens && !directory.exists() {
            return Ok(());
        }
        Err(format!("processes {left:?}, listening: {listens}, directory: {}", directory.exists()))
    })
    .expect("nothing is left");
}

fn server(kubeconfig: &Path) -> String {
    let text = fs::read_to_string(kubeconfig).expect("the kubeconfig is there");
    let config: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let url = config["clusters"][0]["cluster"]["server"].as_str().expect("it names the server");
    url.trim_start_matches("https://").to_owned()
}

/// Where nobody waits for orphans, a dead one stays listed as a zombie.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// An empty home, and a PATH on which there is what the testbed needs, but no `go` yet.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        fs::create_dir(place.path("bin")).expect("a directory");
        for tool in ["sh", "cat", "rm", "sleep", "touch"] {
            let found = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(tool));
            let found = found.iter().find(|path| path.exists()).expect("every system has it");
            symlink(found, place.path("bin").join(tool)).expect("a link");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A `go` that notes each call, waits for the file `release`, and then makes empty programs.
    fn install_go(&self) {
        let script = format!(
            "#!/bin/sh
echo \"$*\" >> '{calls}'
until [ -e '{release}' ]; do sleep 0.1; done
while [ \"$1\" != -o ]; do shift; done
case $2 in
    */) touch \"$2kube-apiserver\" \"$2kubectl\" ;;
    *) touch \"$2\" ;;
esac
",
            calls = self.path("calls").display(),
            release = self.path("release").display(),
        );
        let path = self.path("bin/go");
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    }

    fn build(&self) -> Command {
        let mut command = command();
        command
            .arg("--build-only")
            .env("PATH", self.path("bin"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("KUBEBUILDER_ASSETS")
            .env_remove("KUBERNETES_VERSION");
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn of_two_that_want_the_programs_one_builds_them_and_the_other_waits() {
    let place = Place::new();
    place.install_go();
    let spawn = || place.build().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let first = spawn();
    wait_until("the first to build", LIMIT, || fs::read_to_string(place.path("calls"))).expect("it builds");

    let mut second = spawn();
    let mut said = BufReader::new(second.stderr.take().expect("it is piped")).lines();
    let line = said.next().expect("it says why nothing happens").expect("it is text");
    assert!(line.contains("waiting for kube-apiserver, etcd and kubectl"), "{line}");

    fs::write(place.path("release"), "").expect("a file");
    let outputs = [first, second].map(|child| child.wait_with_output().expect("it ends"));
    for Output { status, stdout, stderr } in &outputs {
        assert!(status.success(), "{}", text(stderr));
        for program in ["kube-apiserver", "etcd", "kubectl"] {
            let path = Path::new(text(stdout).trim()).join(program);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    let calls = fs::read_to_string(place.path("calls")).expect("go was called");
    assert_eq!(calls.lines().count(), 2, "one call for Kubernetes, one for etcd:\n{calls}");
}

#[test]
fn a_build_that_was_killed_is_begun_anew() {
    let place = Place::new();
    place.install_go();
    let first = Killed(place.build().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    wait_until("the first to build", LIMIT, || fs::read_to_string(place.path("calls"))).expect("it builds");
    drop(first);

    fs::write(place.path("release"), "").expect("a file");
    let second = place.build().output().expect("it runs");
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert!(Path::new(text(&second.stdout).trim()).join("etcd").is_file());
}

#[test]
fn without_go_the_message_says_what_to_install() {
    let output = Place::new().build().output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("install Go 1.26 or later, or set KUBEBUILDER_ASSETS"), "{stderr}");
}

#[test]
fn assets_that_lack_a_program_are_named_with_it() {
    let place = Place::new();
    fs::write(place.path("kube-apiserver"), "").expect("a file");
    let output = place.build().env("KUBEBUILDER_ASSETS", place.0.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let directory = place.0.path().display();
    assert!(stderr.contains(&format!("no executable \"etcd\" in {directory}")), "{stderr}");
}

#[test]
fn another_version_is_built_if_the_variable_asks_for_it() {
    let place = Place::new();
    place.install_go();
    fs::write(place.path("release"), "").expect("a file");
    let folders = ["1.33", "1.36", "1.37"].map(|version| {
        let output = place.build().env("KUBERNETES_VERSION", version).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let calls = fs::read_to_string(place.path("calls")).expect("go was called");
        assert_eq!(calls.matches(&format!("component-base/version.gitVersion=v{version}.")).count(), 1);
        text(&output.stdout)
    });
    assert!(folders[0] != folders[1] && folders[1] != folders[2], "{folders:?}");
    let newest = text(&place.build().output().expect("it runs").stdout);
    assert_eq!(newest, folders[2], "the newest is taken without the variable");
}

#[test]
fn an_unknown_version_is_told_with_those_that_can_be_built() {
    let output = Place::new().build().env("KUBERNETES_VERSION", "1.12").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains(
            "KUBERNETES_VERSION is \"1.12\", and the testbed can build 1.37, 1.36, 1.35, 1.34, 1.33"
        ),
        "{stderr}"
    );
}

#[test]
fn assets_of_another_version_than_the_one_that_is_asked_for_are_told() {
    let place = Place::new();
    for name in ["kube-apiserver", "etcd", "kubectl"] {
        fs::write(place.path(name), "#!/bin/sh\necho Kubernetes v1.35.4\n").expect("a file");
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).expect("it may be run");
    }
    let with = |version: &str| {
        let mut command = place.build();
        command.env("KUBEBUILDER_ASSETS", place.0.path()).env("KUBERNETES_VERSION", version);
        command.output().expect("it runs")
    };
    assert!(with("1.35").status.success() && with("").status.success());
    let output = with("1.33");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("asks for 1.33") && stderr.contains("is a 1.35"), "{stderr}");
}
