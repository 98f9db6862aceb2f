//! What has to be done before the operator is removed: no run may wait for an operator that never comes again.
//!
//! ```text
//! the Deployment scaled to 0 -> the Lease taken -> the finalizer off every run, page by page -> the Lease given back
//! ```
//!
//! The finalizer keeps a run until its plans are stopped. The operator takes it off, so without an operator neither the
//! run nor its namespace would ever go. Nothing is stopped at Testinium here: that would need what the operator needs,
//! gateways that answer among it, and an uninstallation must not wait for them.
//!
//! An operator that still runs would put the finalizer on again. So the Lease is held as a replica holds it, by the same
//! rules: it is taken once the operator has given it back or has been silent for as long as it lasts, and nothing is
//! written unless it is held.

mod error;
mod patience;
mod say;
mod sweep;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::error::UninstallError;

use self::patience::with_patience;
use self::say::say;
use self::sweep::Sweep;
use self::tally::Tally;
use crate::cli::ReleaseFinalizersArgs;
use crate::kubernetes::{Clients, Elector, Fence, helm_release, lease_holder, scale_to_zero};
use crate::telemetry::{Health, Metrics};
use crate::testinium;

/// Takes the finalizer off every run that the operator served. Fails unless it is off all of them.
pub async fn release_finalizers(settings: &ReleaseFinalizersArgs) -> Result<(), UninstallError> {
    testinium::install_crypto();
    // In a container, a signal that nobody listens for is not even deadly.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let clients = Clients::infer().await?;
    let place = Place::of(settings, &clients);
    if is_out_of_place(settings, &clients, &place).await? {
        return Ok(());
    }
    let mut lease = None;
    let worked = tokio::select! {
        worked = work(settings, &clients, &place, &mut lease) => worked,
        _ = terminate.recv() => Err(UninstallError::Interrupted),
        _ = interrupt.recv() => Err(UninstallError::Interrupted),
    };
    if let Some(lease) = lease {
        lease.give_back().await;
    }
    let tally = worked?;
    say(&tally.report(settings.dry_run));
    tally.complete().map_err(|left| UninstallError::Left { left })
}

async fn work(
    settings: &ReleaseFinalizersArgs,
    clients: &Clients,
    place: &Place,
    lease: &mut Option<HeldLease>,
) -> Result<Tally, UninstallError> {
    let sweep = |fence| Sweep::new(clients.requests.clone(), settings, fence);
    if settings.dry_run {
        if let Some(name) = &settings.deployment {
            say(&format!("would scale the Deployment {}/{name} to 0", place.namespace));
        }
        return sweep(None).all().await;
    }
    // An operator that has only just been started takes a Lease that is not there yet.
    let may_start = match &settings.deployment {
        Some(name) => scale(clients, &place.namespace, name).await?,
        None => false,
    };
    let fence = if has_lease(clients, place).await? || may_start {
        // It is in the caller's hands, who gives it back however this ends.
        let held = lease.insert(HeldLease::stand(clients, place));
        held.acquire(clients, place, Duration::from_secs(settings.timeout_seconds.into())).await?;
        Some(held.fence.clone())
    } else {
        None
    };
    sweep(fence).all().await
}

/// Where the operator and its Lease are.
struct Place {
    namespace: String,
    lease_namespace: String,
    lease_name: String,
}

// === impl Place ===

impl Place {
    fn of(settings: &ReleaseFinalizersArgs, clients: &Clients) -> Self {
        let namespace = settings.namespace.as_ref().unwrap_or(&clients.namespace);
        Self {
            namespace: namespace.clone(),
            lease_namespace: settings.lease_namespace.as_ref().unwrap_or(namespace).clone(),
            lease_name: settings.lease_name.clone(),
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.lease_namespace, self.lease_name)
    }

    /// The holder of the Lease: an empty name if nobody holds it, none if there is no Lease.
    async fn holder(&self, clients: &Clients) -> Result<Option<String>, UninstallError> {
        let read = async || lease_holder(&clients.watches, &self.lease_namespace, &self.lease_name).await;
        with_patience(read).await.map_err(|why| UninstallError::Lease { lease: self.lease(), why })
    }
}

/// Tells whether this is a Job of a chart that was applied without Helm, at a time at which nobody uninstalls anything.
async fn is_out_of_place(
    settings: &ReleaseFinalizersArgs,
    clients: &Clients,
    place: &Place,
) -> Result<bool, UninstallError> {
    let (Some(release), Some(name)) = (&settings.helm_release, &settings.deployment) else {
        return Ok(false);
    };
    let read = async || helm_release(&clients.requests, &place.namespace, name).await;
    let object = format!("{}/{name}", place.namespace);
    let found =
        with_patience(read).await.map_err(|why| UninstallError::Read { object: object.clone(), why })?;
    let is_other = found.is_some_and(|found| found.as_ref() != Some(release));
    if is_other {
        say(&format!(
            "nothing is done: the Deployment {object} does not belong to the Helm release {release}. A Job that has brought \
             you here is a hook, for helm uninstall alone: leave it out (helm template --no-hooks)"
        ));
    }
    Ok(is_other)
}

/// Scales the Deployment to 0. Yields whether there is one.
async fn scale(clients: &Clients, namespace: &str, name: &str) -> Result<bool, UninstallError> {
    let object = format!("{namespace}/{name}");
    let scaled = with_patience(async || scale_to_zero(&clients.requests, namespace, name).await).await;
    let is_there = scaled.map_err(|why| UninstallError::Scale { object: object.clone(), why })?;
    match is_there {
        true => say(&format!("scaled the Deployment {object} to 0")),
        false => say(&format!("there is no Deployment {object}")),
    }
    Ok(is_there)
}

/// Tells whether there is a Lease. Without one, no operator has acted yet.
async fn has_lease(clients: &Clients, place: &Place) -> Result<bool, UninstallError> {
    let lease = place.lease();
    match place.holder(clients).await? {
        None => say(&format!("there is no Lease {lease}: no operator holds it")),
        Some(holder) if holder.is_empty() => return Ok(true),
        Some(holder) => {
            say(&format!("waiting for {holder} to end, which holds the Lease {lease}"));
            return Ok(true);
        }
    }
    Ok(false)
}

/// The operator's Lease, which this process holds or stands for.
struct HeldLease {
    fence: Fence,
    task: JoinHandle<()>,
    release: Arc<Notify>,
}

// === impl HeldLease ===

impl HeldLease {
    /// Begins to stand for the Lease, as a replica does.
    fn stand(clients: &Clients, place: &Place) -> Self {
        let identity =
            format!("release-finalizers_{}_{:x}", std::process::id(), Timestamp::now().as_nanosecond());
        let (client, health, metrics) =
            (clients.watches.clone(), Health::new(Instant::now()), Metrics::default());
        let elector =
            Elector::new(client, &place.lease_namespace, &place.lease_name, identity, health, metrics);
        let (fence, release) = (elector.fence(), Arc::new(Notify::new()));
        let released = release.clone();
        let task = tokio::spawn(elector.run(async move { released.notified().await }));
        Self { fence, task, release }
    }

    /// Waits until no operator holds the Lease any more, and this process does.
    async fn acquire(&self, clients: &Clients, place: &Place, limit: Duration) -> Result<(), UninstallError> {
        if timeout(limit, self.fence.acquired()).await.is_ok() {
            say(&format!("took the Lease {}: no operator acts", place.lease()));
            return Ok(());
        }
        let why = match place.holder(clients).await? {
            Some(holder) if !holder.is_empty() => format!(
                "{holder} still holds it after {} s: an operator is at work. End it (scale its Deployment to 0, or name it \
                 by --deployment), and run this again",
                limit.as_secs()
            ),
            _ => format!("it could not be taken within {} s, although nobody holds it", limit.as_secs()),
        };
        Err(UninstallError::Lease { lease: place.lease(), why })
    }

    /// Gives it back, so that an operator that is installed again begins at once.
    async fn give_back(self) {
        self.release.notify_one();
        // A task that panicked has been logged; the Lease runs out by itself.
        let _ = self.task.await;
    }
}
