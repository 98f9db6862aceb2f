//! The tools that look at what is shipped, or ship it: Helm, helm-unittest, promtool, kube-score and crane; and two programs
//! that do to objects what GitOps tools do. The sources of these are in tests/kubernetes, beside the pins.
//!
//! Always the pinned ones, built as the control plane's programs are, each by itself: another version on the PATH would
//! render, refuse and find other things.

use std::ffi::OsStr;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::go_build::{Build, Programs};
use crate::kubectl::Output;
use crate::{Error, process};

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    Helm,
    HelmUnittest,
    Promtool,
    KubeScore,
    /// What Flux makes of objects: whether they are ready, and what it applies.
    Flux,
    /// What a script of Argo CD makes of objects.
    ArgocdLua,
    Crane,
}

// === impl Tool ===

impl Tool {
    pub const ALL: [Tool; 7] = [
        Tool::Helm,
        Tool::HelmUnittest,
        Tool::Promtool,
        Tool::KubeScore,
        Tool::Flux,
        Tool::ArgocdLua,
        Tool::Crane,
    ];

    /// The name of the program.
    pub fn name(self) -> &'static str {
        self.programs().name
    }

    /// The folder that holds the program, which is built if it is nowhere yet.
    pub fn directory(self) -> Result<PathBuf, Error> {
        self.programs().obtain()
    }

    /// The program with these arguments and the environment as it is.
    pub fn command<A: AsRef<OsStr>>(self, arguments: &[A]) -> Result<Command, Error> {
        let mut command = Command::new(self.directory()?.join(self.name()));
        command.args(arguments);
        Ok(command)
    }

    /// Runs the program in a directory to its end. A status other than zero is no error here: see [`Output::success`].
    pub fn run<A: AsRef<OsStr>>(self, directory: &Path, arguments: &[A]) -> Result<Output, Error> {
        let mut command = self.command(arguments)?;
        command.current_dir(directory);
        run(command)
    }

    /// Gives the program this on its standard input, and returns what it prints; both are JSON.
    pub fn ask(self, arguments: &[&str], question: &Value) -> Result<Value, Error> {
        let attempt = || Error::io(format!("failed to write what {} is asked", self.name()));
        let mut input = tempfile::tempfile().map_err(attempt())?;
        input.write_all(question.to_string().as_bytes()).map_err(attempt())?;
        input.rewind().map_err(attempt())?;
        let answer = run_with(self.command(arguments)?, input.into())?.success()?;
        let what = || format!("what {} printed", self.name());
        serde_json::from_str(&answer).map_err(|source| Error::Json { what: what(), source })
    }

    fn programs(self) -> &'static Programs {
        match self {
            Tool::Helm => &HELM,
            Tool::HelmUnittest => &HELM_UNITTEST,
            Tool::Promtool => &PROMTOOL,
            Tool::KubeScore => &KUBE_SCORE,
            Tool::Flux => &FLUX,
            Tool::ArgocdLua => &ARGOCD_LUA,
            Tool::Crane => &CRANE,
        }
    }
}

/// Runs a command without input to its end.
pub(crate) fn run(command: Command) -> Result<Output, Error> {
    run_with(command, Stdio::null())
}

fn run_with(mut command: Command, input: Stdio) -> Result<Output, Error> {
    process::guard(&mut command)?;
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let typed = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let output = command.stdin(input).output().map_err(Error::io(format!("failed to run {typed}")))?;
    Ok(Output::new(output, typed))
}

const HELM: Programs = Programs {
    name: "helm",
    what: "Helm",
    otherwise: "",
    pins: &[include_str!("../../kubernetes/helm/go.mod"), include_str!("../../kubernetes/helm/go.sum")],
    builds: &[Build {
        what: "Helm",
        module: "helm",
        packages: &["helm.sh/helm/v4/cmd/helm"],
        output: "helm",
        linker_flags: HELM_FLAGS,
    }],
};

const HELM_FLAGS: &str = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1";

const HELM_UNITTEST: Programs = Programs {
    name: "helm-unittest",
    what: "helm-unittest",
    otherwise: "",
    pins: &[
        include_str!("../../kubernetes/helm-unittest/go.mod"),
        include_str!("../../kubernetes/helm-unittest/go.sum"),
    ],
    builds: &[Build {
        what: "helm-unittest",
        module: "helm-unittest",
        packages: &["github.com/helm-unittest/helm-unittest/cmd/helm-unittest"],
        output: "helm-unittest",
        linker_flags: "-s -w",
    }],
};

const PROMTOOL: Programs = Programs {
    name: "promtool",
    what: "promtool",
    otherwise: "",
    pins: &[
        include_str!("../../kubernetes/promtool/go.mod"),
        include_str!("../../kubernetes/promtool/go.sum"),
    ],
    builds: &[Build {
        what: "promtool",
        module: "promtool",
        // Without the clients of every cloud, which take several times as long as the rest: nothing is discovered here.
        packages: &["-tags=remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool"],
        output: "promtool",
        linker_flags: "-s -w",
    }],
};

const KUBE_SCORE: Programs = Programs {
    name: "kube-score",
    what: "kube-score",
    otherwise: "",
    pins: &[
        include_str!("../../kubernetes/kube-score/go.mod"),
        include_str!("../../kubernetes/kube-score/go.sum"),
    ],
    builds: &[Build {
        what: "kube-score",
        module: "kube-score",
        packages: &["github.com/zegl/kube-score/cmd/kube-score"],
        output: "kube-score",
        linker_flags: "-s -w",
    }],
};

const FLUX: Programs = Programs {
    name: "flux",
    what: "Flux' libraries",
    otherwise: "",
    pins: &[
        include_str!("../../kubernetes/flux/go.mod"),
        include_str!("../../kubernetes/flux/go.sum"),
        include_str!("../../kubernetes/flux/main.go"),
    ],
    builds: &[Build {
        what: "Flux' libraries",
        module: "flux",
        packages: &["."],
        output: "flux",
        linker_flags: "-s -w",
    }],
};

const ARGOCD_LUA: Programs = Programs {
    name: "argocd-lua",
    what: "Argo CD's Lua",
    otherwise: "",
    pins: &[
        include_str!("../../kubernetes/argocd-lua/go.mod"),
        include_str!("../../kubernetes/argocd-lua/go.sum"),
        include_str!("../../kubernetes/argocd-lua/main.go"),
    ],
    builds: &[Build {
        what: "Argo CD's Lua",
        module: "argocd-lua",
        packages: &["."],
        output: "argocd-lua",
        linker_flags: "-s -w",
    }],
};

const CRANE: Programs = Programs {
    name: "crane",
    what: "crane",
    otherwise: "",
    pins: &[include_str!("../../kubernetes/crane/go.mod"), include_str!("../../kubernetes/crane/go.sum")],
    builds: &[Build {
        what: "crane",
        module: "crane",
        packages: &["github.com/google/go-containerregistry/cmd/crane"],
        output: "crane",
        linker_flags: "-s -w",
    }],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_helm_tells_is_the_one_that_is_pinned() {
        let pinned = HELM.pins[0]
            .lines()
            .find_map(|line| line.trim().strip_prefix("helm.sh/helm/v4 "))
            .and_then(|rest| rest.split_whitespace().next())
            .expect("go.mod requires helm.sh/helm/v4");
        assert!(
            HELM_FLAGS.ends_with(&format!("version.version={pinned}")),
            "{pinned} is not in {HELM_FLAGS}"
        );
    }
}
