//! The failures of the testbed, while it is set up or asked for something.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::pki::PkiError;

/// A failure of the testbed itself, worded for whoever runs the tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{attempt}")]
    Io { attempt: String, source: io::Error },

    #[error(
        "no executable \"{name}\" in {directory}, the directory that KUBEBUILDER_ASSETS names: put kube-apiserver, \
         etcd and kubectl there, or unset the variable to have them built"
    )]
    AssetMissing { name: &'static str, directory: PathBuf },

    #[error("KUBERNETES_VERSION is \"{wanted}\", and the testbed can build {known}")]
    UnknownVersion { wanted: String, known: String },

    #[error(
        "KUBERNETES_VERSION asks for {wanted}, and the kube-apiserver in {directory}, the directory that \
         KUBEBUILDER_ASSETS names, is a {given}: unset one of the two"
    )]
    OtherVersion { wanted: String, given: String, directory: PathBuf },

    #[error(
        "neither XDG_CACHE_HOME nor HOME names an absolute path, so there is nowhere to keep the built {wanted}"
    )]
    NoCache { wanted: &'static str },

    #[error("`go` was not found, and it builds {wanted}: install Go {required} or later{otherwise}")]
    GoMissing { wanted: &'static str, required: &'static str, otherwise: &'static str },

    #[error(
        "`go build` of {what} ended with {status}; Go {required} or later is needed; its last lines:\n{output}"
    )]
    Build { what: &'static str, required: &'static str, status: ExitStatus, output: String },

    #[error("failed to make the control plane's certificates")]
    Certificates(#[from] PkiError),

    #[error("failed to make the key that signs ServiceAccount tokens")]
    SigningKey(#[source] rcgen::Error),

    #[error("{name} ended with {status} while it was starting; its last lines:\n{output}")]
    Ended { name: String, status: ExitStatus, output: String },

    #[error("kube-apiserver was not ready after {limit:?}: {seen}; its last lines:\n{output}")]
    NotReady { limit: Duration, seen: String, output: String },

    #[error("the directory {0} is in use by another control plane")]
    DirectoryInUse(PathBuf),

    #[error("`{command}` ended with {status}: {stderr}")]
    Command { command: String, status: ExitStatus, stderr: String },

    #[error("failed to read {what} as JSON")]
    Json { what: String, source: serde_json::Error },

    #[error("{0}")]
    Image(String),

    #[error("{0}")]
    Release(String),

    #[error("failed to start a fault proxy")]
    Proxy(#[source] crate::faults::StartError),

    #[error("failed to start the simulated gateway")]
    Simulator(#[source] crate::simulator::StartError),

    #[error("failed to send {request} to the API server")]
    Unanswered { request: String, source: Box<dyn std::error::Error + Send + Sync> },

    #[error("the API server answered {request} with {status}: {message}")]
    Refused { request: String, status: u16, message: String },

    #[error("waited {limit:?} for {what}; last seen: {seen}")]
    TimedOut { what: String, limit: Duration, seen: String },
}

// === impl Error ===

impl Error {
    /// A function for `map_err` that keeps the cause beside a sentence on what was attempted.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { attempt: attempt.into(), source }
    }
}

/// An error with its causes in one line, as it is shown where it is given up.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
