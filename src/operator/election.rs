//! The task that keeps the Lease, if there is one to keep.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::error::OperatorError;
use crate::cli::RunArgs;
use crate::kubernetes::{Clients, Elector, Fence};
use crate::telemetry::{Health, Metrics};

/// This process's part in the election of a leader.
pub(super) struct Election {
    fence: Fence,
    /// The task that keeps the Lease. There is none without an election: then this process leads all the time.
    task: Option<JoinHandle<()>>,
    release: Arc<Notify>,
}

// === impl Election ===

impl Election {
    /// Begins to stand for the Lease, unless the settings want no election.
    pub(super) fn begin(clients: &Clients, settings: &RunArgs, health: &Health, metrics: &Metrics) -> Self {
        let release = Arc::new(Notify::new());
        if !settings.leader_elect {
            return Self { fence: Fence::open(), task: None, release };
        }
        let namespace = settings.lease_namespace.as_deref().unwrap_or(&clients.namespace);
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "testinium-operator".to_owned());
        // An identity is never used twice, so that a restarted process does not take itself for the one before.
        let identity = format!("{host}_{}_{:x}", std::process::id(), Timestamp::now().as_nanosecond());
        let (client, health, metrics) = (clients.watches.clone(), health.clone(), metrics.clone());
        let elector = Elector::new(client, namespace, &settings.lease_name, identity, health, metrics);
        let fence = elector.fence();
        let released = release.clone();
        let task = tokio::spawn(elector.run(async move { released.notified().await }));
        Self { fence, task: Some(task), release }
    }

    pub(super) fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Tells whether another replica may be the one that leads.
    pub(super) fn has_rivals(&self) -> bool {
        self.task.is_some()
    }

    /// Waits for the election to end, which it does not do by itself.
    pub(super) async fn ended(&mut self) -> OperatorError {
        match &mut self.task {
            Some(task) => match task.await {
                Ok(()) => OperatorError::Ended("the election".to_owned()),
                Err(error) => error.into(),
            },
            None => std::future::pending().await,
        }
    }

    /// Gives the Lease back, so that another replica takes it at once.
    pub(super) async fn release(self) -> Result<(), OperatorError> {
        self.release.notify_one();
        match self.task {
            Some(task) => Ok(task.await?),
            None => Ok(()),
        }
    }
}
