//! The network as all gateways share it: the addresses that are refused, the clients, and the logins.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::address::Guard;
use super::clients::Clients;
use super::logins::Logins;

/// The parts that all gateways share.
pub struct Network {
    pub(super) guard: Arc<Guard>,
    pub(super) clients: Clients,
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
            clients: Clients::default(),
            logins: Logins::default(),
        }
    }

    /// The API server's addresses are these from now on.
    pub fn know_api_server(&self, addresses: Vec<IpAddr>) {
        self.guard.know_api_server(addresses);
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("guard", &self.guard).finish_non_exhaustive()
    }
}
