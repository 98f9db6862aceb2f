//! A simulated Testinium gateway, built from the published API and as strict as it.
//!
//! It stands for the real gateway in the tests and in the demo. Plans have a nature (they run, do not run, are
//! unknown, ...) that decides how a stop ends; any reply can be scripted instead, up to broken connections; the
//! whole gateway can be slow, down or mute; and everything asked of it is on record.
//!
//! Three origins are served, each on its own port as at a real site: the gateway, the RestApi (logins, and whether a
//! plan runs), and one that redirects point to and that nobody should ever call.
//!
//! Left out: whatever starts or edits plans. Where the published API is silent, [`Config`] has a setting.

mod api;
mod config;
mod foreign;
mod hold;
mod log;
mod login;
mod plans;
mod reply;
mod script;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Api, Site};
use rustls::ServerConfig;

use crate::pki::{Authority, Identity, PkiError};
use crate::serve::{Background, Listener};

pub use crate::record::LimitPassed;
pub use crate::serve::Reach;
pub use config::{Config, Tls};
pub use foreign::Foreign;
pub use hold::Hold;
pub use log::{Answer, Endpoint, Request};
pub use login::{Client, Login, Logins, TokenRefusal};
pub use plans::{Nature, PlanTruth, Report};
pub use reply::{ErrorShape, Reply};
pub use script::When;

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or is not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No thread could be started.
    #[error("failed to start the simulator's thread")]
    Thread(#[source] io::Error),
    /// No certificates could be made.
    #[error("failed to set up the simulator's TLS")]
    Tls(#[from] PkiError),
}

/// A running simulator, which ends when this is dropped.
#[derive(Debug)]
pub struct Simulator {
    api: Arc<Api>,
    gateway: Listener,
    rest_api: Listener,
    elsewhere: Listener,
    pki: Option<Pki>,
    // Ends after the listeners, which live on it.
    _background: Background,
}

#[derive(Debug)]
struct Pki {
    authority: Authority,
    client: Identity,
    config: Arc<ServerConfig>,
}

// === impl Simulator ===

impl Simulator {
    /// Starts a simulator; once this returns, it is served. It needs no runtime and blocks none.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let background = Background::start("gateway-simulator").map_err(StartError::Thread)?;
        let pki = config.tls.as_ref().map(Pki::new).transpose()?;
        let tls = pki.as_ref().map(|pki| pki.config.clone());
        let listen = config.listen;
        let free = SocketAddr::new(listen.ip(), 0);
        let rest_api_listen = config.rest_api_listen.unwrap_or(free);
        let api = Arc::new(Api::new(config));
        let start = |site, address| {
            let api = api.clone();
            let service = move |request, connection| api.clone().serve(site, request, connection);
            Listener::start(background.handle(), address, tls.clone(), service)
                .map_err(|source| StartError::Listen { address, source })
        };
        let gateway = start(Site::Gateway, listen)?;
        let rest_api = start(Site::RestApi, rest_api_listen)?;
        let elsewhere = start(Site::Elsewhere, free)?;
        Ok(Self { api, gateway, rest_api, elsewhere, pki, _background: background })
    }

    // --- where it is ---

    /// The gateway's URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin(&self.gateway), self.api.config.base_path)
    }

    /// The RestApi's URL, without a slash at its end; `/Testinium.RestApi` comes after it.
    pub fn rest_api_url(&self) -> String {
        self.origin(&self.rest_api)
    }

    /// The URL of the login.
    pub fn token_url(&self) -> String {
        format!("{}/Testinium.RestApi/oauth/token", self.rest_api_url())
    }

    /// The origin nobody should call.
    pub fn elsewhere_url(&self) -> String {
        self.origin(&self.elsewhere)
    }

    /// The authority that signed the certificates; none in plain HTTP.
    pub fn ca_pem(&self) -> Option<&str> {
        self.pki.as_ref().map(|pki| pki.authority.pem())
    }

    /// A certificate with which a client is let in; none in plain HTTP.
    pub fn client_identity(&self) -> Option<&Identity> {
        self.pki.as_ref().map(|pki| &pki.client)
    }

    // --- how it behaves ---

    /// Declares plan `id`, or starts it anew, with its counters at zero.
    pub fn plan(&self, id: i64, nature: Nature) {
        self.api.state().plans.declare(id, nature);
    }

    /// Declares several plans of one nature.
    pub fn plans(&self, ids: impl IntoIterator<Item = i64>, nature: Nature) {
        let mut state = self.api.state();
        for id in ids {
            state.plans.declare(id, nature);
        }
    }

    /// Has `reply` given instead of the natural one to the requests that `when` describes.
    pub fn script(&self, when: When, reply: Reply) {
        self.api.state().scripts.add(when, reply);
    }

    /// Forgets all scripts.
    pub fn clear_scripts(&self) {
        self.api.state().scripts.clear();
    }

    /// Makes each answer take this long from now on. What is done to plans is done at once.
    pub fn set_latency(&self, latency: Duration) {
        self.api.state().latency = latency;
    }

    /// Refuses connections to the gateway, and breaks those that are open.
    pub fn down(&self) -> io::Result<()> {
        self.set_reach(Reach::Refusing)
    }

    /// Serves the gateway again, at the same address.
    pub fn up(&self) -> io::Result<()> {
        self.set_reach(Reach::Up)
    }

    /// Changes what those meet who call the gateway. Requests swallowed by a black hole are on no record.
    pub fn set_reach(&self, reach: Reach) -> io::Result<()> {
        self.gateway.set_reach(reach)
    }

    /// The same for the RestApi.
    pub fn set_rest_api_reach(&self, reach: Reach) -> io::Result<()> {
        self.rest_api.set_reach(reach)
    }

    // --- tokens ---

    /// Accepts `token` from now on and no other.
    pub fn set_token(&self, token: &str) {
        let mut state = self.api.state();
        state.tokens.revoke();
        state.tokens.accept(token.to_owned());
    }

    /// Refuses tokens in this way from now on.
    pub fn refuse_tokens(&self, refusal: TokenRefusal) {
        self.api.state().tokens.set_refusal(refusal);
    }

    /// Accepts none of the tokens any more that were given out so far.
    pub fn revoke_tokens(&self) {
        self.api.state().tokens.revoke();
    }

    /// Changes the password that a login needs.
    pub fn set_password(&self, password: &str) {
        self.api.state().tokens.set_password(password.to_owned());
    }

    /// Unlocks the account.
    pub fn unlock(&self) {
        self.api.state().tokens.unlock();
    }

    /// How often a login was tried.
    pub fn logins(&self) -> Logins {
        self.api.state().tokens.logins()
    }

    // --- what was asked ---

    /// Every request to the gateway and the RestApi, in the order in which they arrived.
    pub fn requests(&self) -> Vec<Request> {
        self.api.log.record.all()
    }

    /// The stop calls among them.
    pub fn calls(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.endpoint == Endpoint::Stop);
        requests
    }

    /// Every request to the origin nobody should call.
    pub fn elsewhere(&self) -> Vec<Request> {
        self.api.elsewhere.record.all()
    }

    /// Empties the record. Plans, scripts and logins stay as they are.
    pub fn forget_requests(&self) {
        self.api.log.forget();
    }

    /// Waits until the record is as `wanted`, and returns it. The closure must not ask the simulator.
    pub async fn wait_for(
        &self,
        wanted: impl Fn(&[Request]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Request>, LimitPassed> {
        self.api.log.record.wait_for(wanted, limit).await
    }

    /// [`Simulator::wait_for`] for those without a runtime.
    pub fn wait_for_blocking(
        &self,
        wanted: impl Fn(&[Request]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Request>, LimitPassed> {
        self.api.log.record.wait_for_blocking(wanted, limit)
    }

    /// The most stop calls seen in flight at once. A call that its client gave up counts until its connection is
    /// seen to be gone.
    pub fn in_flight_max(&self) -> usize {
        self.api.log.in_flight_max()
    }

    /// Connections to the gateway so far.
    pub fn connections(&self) -> u64 {
        self.gateway.opened()
    }

    /// The truth about each plan that was declared or asked about.
    pub fn truth(&self) -> BTreeMap<i64, PlanTruth> {
        self.api.state().plans.truth(std::time::Instant::now())
    }

    /// Has `observer` told of every request to the gateway and the RestApi once it is clear what came of it.
    pub fn observe(&self, observer: impl Fn(&Request) + Send + Sync + 'static) {
        self.api.log.observe(Arc::new(observer));
    }

    fn origin(&self, listener: &Listener) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", listener.address())
    }
}

// === impl Pki ===

impl Pki {
    fn new(tls: &Tls) -> Result<Self, PkiError> {
        let Tls { names, client_certificate, http2 } = tls;
        let authority = Authority::new("Simulated Testinium CA")?;
        let server = authority.server(names)?;
        let client = authority.client("testinium-operator")?;
        let config = authority.server_config(&server, *client_certificate, *http2)?;
        Ok(Self { authority, client, config })
    }
}
