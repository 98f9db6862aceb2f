//! Reasons for which runs still have the finalizer.

use std::fmt;
use std::io;

use super::tally::Left;
use crate::kubernetes::ClientError;

/// The reason for which `release-finalizers` has failed.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("failed to listen for signals")]
    Signals(#[from] io::Error),
    #[error("failed to read the Deployment {object}: {why}")]
    Read { object: String, why: String },
    #[error("failed to scale the Deployment {object} to 0: {why}")]
    Scale { object: String, why: String },
    #[error("failed to take the Lease {lease}: {why}")]
    Lease { lease: String, why: String },
    #[error("lost the Lease, so an operator may act: run this again")]
    LeaseLost,
    #[error("failed to list TestPlanRuns{of}: {why}")]
    List { of: Extent, why: String },
    #[error("was asked to end before it was done: run this again")]
    Interrupted,
    #[error("{left}")]
    Left { left: Left },
}

/// The namespace that was listed.
#[derive(Debug)]
pub struct Extent(pub(super) Option<String>);

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |namespace| write!(f, " of namespace {namespace}"))
    }
}
