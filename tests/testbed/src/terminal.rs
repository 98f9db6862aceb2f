//! A person's terminal, made ready for one control plane by lines that can be pasted into any other.
//!
//! The demo prints these lines and types its own commands after them. The test of the tour pastes them, too,
//! so what a newcomer needs is never more than what was printed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::control_plane::ControlPlane;
use crate::helm::Helm;
use crate::kubectl::Output;
use crate::simulator::Simulator;
use crate::{Error, process};

/// A terminal with `kubectl` at hand, bound to one cluster, with a default namespace.
///
/// The default one is a shell as it is, without any cluster.
#[derive(Clone, Debug, Default)]
pub struct Terminal {
    /// The lines that make a shell such a terminal.
    lines: Vec<String>,
}

// === impl Terminal ===

impl Terminal {
    /// A terminal as the administrator. `directory` takes its kubeconfig, which must be its own: the namespace is
    /// written into it.
    pub fn new(plane: &ControlPlane, namespace: &str, directory: &Path) -> Result<Self, Error> {
        let kubeconfig = directory.join("terminal.kubeconfig");
        let attempt = || format!("failed to write {}", kubeconfig.display());
        fs::copy(plane.kubeconfig(), &kubeconfig).map_err(Error::io(attempt()))?;
        let kubectl = plane.kubectl().with_kubeconfig(&kubeconfig);
        let context = format!("--namespace={namespace}");
        kubectl.run(&["config", "set-context", "--current", &context])?.success()?;
        let program = kubectl.command::<&str>(&[]);
        let folder = Path::new(program.get_program()).parent().unwrap_or(Path::new("/"));
        Ok(Self {
            lines: vec![
                format!("export KUBECONFIG={}", quoted(&kubeconfig.display().to_string())),
                // A later control plane on the same port must not be taken for this one.
                format!("export KUBECACHEDIR={}", quoted(&directory.join("cache").display().to_string())),
                format!("export PATH={}:\"$PATH\"", quoted(&folder.display().to_string())),
            ],
        })
    }

    /// The same with the variables from which the tour makes a gateway and its Secret.
    pub fn with_gateway(mut self, simulator: &Simulator, token: &str) -> Self {
        self.lines.push(format!("export TESTINIUM_URL={}", quoted(&simulator.url())));
        self.lines.push(format!("export TESTINIUM_TOKEN={}", quoted(token)));
        self.lines.push(format!("export TESTINIUM_PLAIN_HTTP={}", simulator.ca_pem().is_none()));
        self
    }

    /// The same with Helm at hand.
    pub fn with_helm(mut self, helm: &Helm) -> Self {
        let folder = quoted(&helm.directory().display().to_string());
        self.lines.push(format!("export PATH={folder}:\"$PATH\""));
        for (name, path) in helm.variables() {
            self.lines.push(format!("export {name}={}", quoted(&path.display().to_string())));
        }
        self
    }

    /// The lines to paste into a shell.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A shell that runs these commands after the lines.
    pub fn command(&self, commands: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{}\n{commands}", self.lines.join("\n")));
        shell
    }

    /// Runs commands to their end. A status other than zero is no error here: see [`Output::success`].
    pub fn run(&self, commands: &str) -> Result<Output, Error> {
        let mut shell = self.command(commands);
        process::guard(&mut shell)?;
        let output = shell.stdin(Stdio::null()).output().map_err(Error::io("failed to run a shell"))?;
        Ok(Output::new(output, commands.to_owned()))
    }
}

/// A word for a shell, in quotes if it needs them.
fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:[]".contains(c)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_the_shell_as_it_is() {
        for word in ["/tmp/a.b-c", "http://127.0.0.1:80", "a b", "it's", "$HOME", "a;b", "\"", "*"] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().expect("a shell starts");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{script}");
        }
    }
}
