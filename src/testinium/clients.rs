//! The HTTP clients of all gateways: one for each TLS setup, however many gateways have it.
//!
//! A client keeps a pool of open connections and its parsed certificates: about 1 MiB with those of the system, and
//! several times the size of a bundle. The clients for gateways without TLS material of their own live for as long as
//! the process; any other one until the last connection that has its setup is gone.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use reqwest::Client;

use super::address::Guard;
use super::error::{ConnectError, invalid};
use super::tls::{TlsSetup, Trust};
use crate::aside;

/// A client, and the setup that it was made for.
pub(super) struct TlsClient {
    pub client: Client,
    pub setup: Arc<TlsSetup>,
}

/// The clients that there are.
#[derive(Default)]
pub(super) struct Clients {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// Without TLS material of a gateway's own.
    common: Vec<Arc<TlsClient>>,
    /// By the digest of their setup.
    own: HashMap<u64, Vec<Weak<TlsClient>>>,
}

// === impl Clients ===

impl Clients {
    /// The client for this setup.
    pub async fn client(&self, setup: TlsSetup, guard: &Arc<Guard>) -> Result<Arc<TlsClient>, ConnectError> {
        let digest = digest(&setup);
        if let Some(known) = self.shelf().find(&setup, digest) {
            return Ok(known);
        }
        let (setup, guard) = (Arc::new(setup), guard.clone());
        let of_it = setup.clone();
        let made = aside::work(setup.size(), move || of_it.client(guard)).await;
        let client =
            made.map_err(|aside::Panicked| invalid("the certificates of spec.tls can't be used"))??;
        let mut shelf = self.shelf();
        // Another gateway may have made one meanwhile.
        if let Some(known) = shelf.find(&setup, digest) {
            return Ok(known);
        }
        let made = Arc::new(TlsClient { client, setup });
        shelf.keep(&made, digest);
        Ok(made)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shelf ===

impl Shelf {
    fn find(&self, setup: &TlsSetup, digest: u64) -> Option<Arc<TlsClient>> {
        let own = self.own.get(&digest).into_iter().flatten().filter_map(Weak::upgrade);
        self.common.iter().cloned().chain(own).find(|known| *known.setup == *setup)
    }

    fn keep(&mut self, made: &Arc<TlsClient>, digest: u64) {
        if made.setup.is_common() {
            return self.common.push(made.clone());
        }
        // What nobody uses any more is dropped already; here its place goes too.
        self.own.retain(|_, clients| {
            clients.retain(|client| client.strong_count() > 0);
            !clients.is_empty()
        });
        self.own.entry(digest).or_default().push(Arc::downgrade(made));
    }
}

/// Equal setups have equal digests. The key is left out: it need not be read for that.
fn digest(setup: &TlsSetup) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Trust::Only(pem) = &setup.trust {
        pem.hash(&mut hasher);
    }
    setup.identity.as_ref().map(|(certificate, _)| certificate).hash(&mut hasher);
    hasher.finish()
}
