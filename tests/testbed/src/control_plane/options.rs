//! The options of a control plane.

use std::path::PathBuf;

use super::audit::AuditLevel;

/// How a control plane is to be set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// More arguments for kube-apiserver; they win over the usual ones.
    pub api_server_args: Vec<String>,
    pub audit: AuditLevel,
    /// Where its files are kept, to be found again by a later one. Without it they go with the control plane.
    pub directory: Option<PathBuf>,
}
