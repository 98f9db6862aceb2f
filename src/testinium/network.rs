//! The network as all gateways share it: the addresses that are refused, and the clients without TLS of their own.
//!
//! A client keeps a pool of open connections and, with the system's CA certificates, about 1 MiB: so all gateways
//! without TLS material of their own share one, and one with its own keeps its client until the material changes.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use reqwest::Client;

use super::address::Guard;
use super::error::{ConnectError, invalid};
use super::logins::Logins;
use super::tls::{TlsSetup, Trust};
use crate::aside;

/// The parts that all gateways share.
pub struct Network {
    pub(super) guard: Arc<Guard>,
    system: Mutex<Option<Client>>,
    plain: Mutex<Option<Client>>,
    pub(super) logins: Logins,
}

/// Installs ring as the process's cryptography, unless there is one already. A program calls it before it makes any
/// client.
pub fn install_crypto() {
    // The call fails only if another is installed, which is then good enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

// === impl Network ===

impl Network {
    /// `allowed` are addresses that gateways may have although they are refused by default; `api_server` are the
    /// addresses of the API server, which are refused too.
    pub fn new(allowed: Vec<IpNet>, api_server: Vec<IpAddr>) -> Self {
        install_crypto();
        Self {
            guard: Arc::new(Guard::new(allowed, api_server)),
            system: Mutex::default(),
            plain: Mutex::default(),
            logins: Logins::default(),
        }
    }

    /// The API server's addresses are these from now on.
    pub fn know_api_server(&self, addresses: Vec<IpAddr>) {
        self.guard.know_api_server(addresses);
    }

    /// A client for this setup: a shared one, unless the setup is the gateway's own.
    pub(super) async fn client(&self, tls: Arc<TlsSetup>) -> Result<(Client, Arc<TlsSetup>), ConnectError> {
        let shared = match &*tls {
            TlsSetup { trust: Trust::System, identity: None } => &self.system,
            TlsSetup { trust: Trust::Nobody, identity: None } => &self.plain,
            TlsSetup { .. } => {
                let (of_its_own, guard) = (tls.clone(), self.guard.clone());
                let client = aside::work(tls.size(), move || of_its_own.client(guard)).await;
                let client = client
                    .map_err(|aside::Panicked| invalid("the certificates of spec.tls can't be used"))?;
                return Ok((client?, tls));
            }
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*shared {
            return Ok((client.clone(), tls));
        }
        let client = tls.client(self.guard.clone())?;
        Ok((shared.insert(client).clone(), tls))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("guard", &self.guard).finish_non_exhaustive()
    }
}
