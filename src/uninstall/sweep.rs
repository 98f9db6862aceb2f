//! The walk over all runs, page by page, a few writes at a time.

use std::cell::Cell;

use futures::StreamExt;
use futures::stream;

use super::error::{Extent, UninstallError};
use super::patience::with_patience;
use super::say::say;
use super::tally::Tally;
use crate::cli::ReleaseFinalizersArgs;
use crate::kubernetes::{Fence, HeldPage, HeldRun, Listed, Removal, list_held, remove_finalizer};

/// Writes under way at a time: enough to be quick, and no burden for an API server.
const AT_A_TIME: usize = 8;

/// Times that a run may change between its reading and the write. Only somebody who does nothing else changes it more
/// often.
const CONFLICTS_MAX: usize = 10;

/// Lists that may break off because a page was too old, which takes five minutes.
const LISTS_MAX: usize = 5;

/// The removal of the finalizer from all runs that an operator served.
pub(super) struct Sweep<'a> {
    client: kube::Client,
    settings: &'a ReleaseFinalizersArgs,
    label_selector: String,
    /// Whether this process may write; there is none if nobody could be in its way.
    fence: Option<Fence>,
    /// A write has failed in all of its tries: whatever is in its way is in that of others, so they are tried once.
    has_given_up: Cell<bool>,
}

/// What became of one run.
enum Fate {
    Released(HeldRun),
    /// Somebody else took it off, or the run is gone, or it is not one of those that were served any more.
    Gone,
    Left(HeldRun, String),
    LeaseLost,
}

// === impl Sweep ===

impl<'a> Sweep<'a> {
    pub(super) fn new(
        client: kube::Client,
        settings: &'a ReleaseFinalizersArgs,
        fence: Option<Fence>,
    ) -> Self {
        let label_selector = settings.watch_label_selector.to_string();
        Self { client, settings, label_selector, fence, has_given_up: Cell::new(false) }
    }

    pub(super) async fn all(&self) -> Result<Tally, UninstallError> {
        let mut tally = Tally::default();
        let namespaces = &self.settings.watch_namespaces;
        if namespaces.is_empty() {
            self.extent(None, &mut tally).await?;
        }
        for namespace in namespaces {
            self.extent(Some(namespace), &mut tally).await?;
        }
        Ok(tally)
    }

    /// Releases the runs of one namespace, or of all.
    async fn extent(&self, namespace: Option<&str>, tally: &mut Tally) -> Result<(), UninstallError> {
        let listed = Listed { namespace, label_selector: &self.label_selector, name: None };
        let failed = |why| UninstallError::List { of: Extent(namespace.map(str::to_owned)), why };
        let (mut next, mut lists) = (None::<String>, 1);
        loop {
            let page = with_patience(async || list_held(&self.client, listed, next.as_deref()).await).await;
            next = match page.map_err(failed)? {
                HeldPage::Page { runs, next } => {
                    self.page(runs, tally).await?;
                    next
                }
                // Those that are released already are not found again.
                HeldPage::Expired if lists < LISTS_MAX && !self.settings.dry_run => {
                    lists += 1;
                    None
                }
                HeldPage::Expired => return Err(failed("the list took too long".to_owned())),
                HeldPage::NotServed => {
                    tally.not_served = true;
                    return Ok(());
                }
            };
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(&self, runs: Vec<HeldRun>, tally: &mut Tally) -> Result<(), UninstallError> {
        let mut fates = stream::iter(runs).map(|run| self.one(run)).buffer_unordered(AT_A_TIME);
        while let Some(fate) = fates.next().await {
            match fate {
                Fate::Released(run) => tally.released(&run),
                Fate::Gone => {}
                Fate::Left(run, why) => tally.left(run.key, why),
                Fate::LeaseLost => return Err(UninstallError::LeaseLost),
            }
        }
        Ok(())
    }

    async fn one(&self, mut run: HeldRun) -> Fate {
        if self.settings.dry_run {
            say(&format!(
                "would release {}{}",
                run.key,
                if run.is_being_deleted { ", which is being deleted" } else { "" }
            ));
            return Fate::Released(run);
        }
        for _ in 0..CONFLICTS_MAX {
            if self.fence.as_ref().is_some_and(|fence| !fence.holds()) {
                return Fate::LeaseLost;
            }
            match self.remove(&run).await {
                Ok(Removal::Done) => return Fate::Released(run),
                Ok(Removal::Conflict) => {}
                Err(why) => return Fate::Left(run, why),
            }
            run = match self.again(&run).await {
                Ok(Some(run)) => run,
                Ok(None) => return Fate::Gone,
                Err(why) => return Fate::Left(run, why),
            };
        }
        Fate::Left(run, "it was changed again and again meanwhile".to_owned())
    }

    async fn remove(&self, run: &HeldRun) -> Result<Removal, String> {
        if self.has_given_up.get() {
            return remove_finalizer(&self.client, run).await.map_err(|failure| failure.why);
        }
        let removed = with_patience(async || remove_finalizer(&self.client, run).await).await;
        removed.inspect_err(|_| self.has_given_up.set(true))
    }

    /// Reads a run again; nothing if it has no such finalizer any more. By a list, so that a run whose labels belong to
    /// another shard by now is left to that one.
    async fn again(&self, run: &HeldRun) -> Result<Option<HeldRun>, String> {
        let (namespace, name) = (Some(&*run.key.namespace), Some(&*run.key.name));
        let listed = Listed { namespace, label_selector: &self.label_selector, name };
        match with_patience(async || list_held(&self.client, listed, None).await).await? {
            HeldPage::Page { mut runs, .. } => Ok(runs.pop()),
            HeldPage::NotServed => Ok(None),
            HeldPage::Expired => Err("it could not be read again".to_owned()),
        }
    }
}
