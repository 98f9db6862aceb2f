//! The options of a control plane.

use std::path::PathBuf;

use super::audit::AuditLevel;

/// The setup of a control plane.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// More arguments for kube-apiserver; they win over the usual ones.
    pub api_server_args: Vec<String>,
    /// More arguments for etcd, in the same way.
    pub etcd_args: Vec<String>,
    pub audit: AuditLevel,
    /// The directory of its files, to be found again by a later control plane. Without it they go with this one.
    pub directory: Option<PathBuf>,
}
