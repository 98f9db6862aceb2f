//! A proxy that breaks what goes through it, as told.
//!
//! It stands between the operator and the API server, or the gateway, and does by rule what networks and servers do
//! by accident: delay, hang, refuse, lose a request or just its answer, cut or freeze a watch. Callbacks before and
//! after a request let a test kill the operator at exactly that point. Everything is on record in its order.
//!
//! TLS is ended here and begun anew towards the server; the credentials in the headers go through untouched, so
//! clients authenticate with tokens, not certificates. Answers are handed on piece by piece, so a watch is as quick
//! as without the proxy. Left out: upgraded connections (`kubectl exec` and its kind).

mod forward;
mod rule;
mod traffic;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use hyper::http::uri::{InvalidUri, Scheme, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::pki::{self, Authority, PkiError};
use crate::record::Record;
use crate::serve::{Background, Listener};
use forward::{BreakOpen, Forwarder};
use rule::Rules;

pub use crate::record::LimitPassed;
pub use crate::serve::Reach;
pub use rule::{Break, Fault, Then, When};
pub use traffic::{Exchange, Outcome, RuleId, Verb};

/// The place of the proxy between client and server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 is any free one.
    pub listen: SocketAddr,
    /// The server behind it: scheme, host and port. A path is not added to the requests'.
    pub upstream: String,
    /// The authority that vouches for the server, as PEM; needed for `https`.
    pub upstream_ca_pem: Option<String>,
    /// Whether it serves HTTPS, with an authority of its own; else plain HTTP.
    pub tls: bool,
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The upstream is no URL.
    #[error("failed to read the upstream {upstream:?}; it must be like https://127.0.0.1:6443")]
    Upstream {
        /// The text that was given.
        upstream: String,
        /// The mistake in it.
        #[source]
        source: Option<InvalidUri>,
    },
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
    #[error("failed to start the proxy's thread")]
    Thread(#[source] io::Error),
    /// No certificates could be made or trusted.
    #[error("failed to set up the proxy's TLS")]
    Tls(#[from] PkiError),
}

/// A running proxy, which ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    forwarder: Arc<Forwarder>,
    listener: Listener,
    authority: Option<Authority>,
    // Ends after the listener, which lives on it.
    _background: Background,
}

// === impl Config ===

impl Config {
    /// A proxy in plain HTTP, on a free port, in front of `upstream`.
    pub fn new(upstream: &str) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            upstream: upstream.to_owned(),
            upstream_ca_pem: None,
            tls: false,
        }
    }
}

// === impl Proxy ===

impl Proxy {
    /// Starts a proxy; once this returns, it is served. It needs no runtime and blocks none.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config { listen, upstream, upstream_ca_pem, tls } = config;
        let unreadable = |source| StartError::Upstream { upstream: upstream.clone(), source };
        let uri = upstream.parse::<Uri>().map_err(|error| unreadable(Some(error)))?.into_parts();
        let (Some(scheme), Some(authority)) = (uri.scheme, uri.authority) else {
            return Err(unreadable(None));
        };
        let client_config = pki::client_config(upstream_ca_pem.as_deref())?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(client_config);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector =
            if scheme == Scheme::HTTPS { connector.https_only() } else { connector.https_or_http() };
        let connector = connector.enable_http1().wrap_connector(http);

        let background = Background::start("fault-proxy").map_err(StartError::Thread)?;
        let upstream = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let forwarder = Arc::new(Forwarder {
            upstream,
            scheme,
            authority,
            traffic: Record::new(),
            rules: Mutex::new(Rules::default()),
            breaks: watch::channel(None).0,
        });
        let authority = if tls { Some(Authority::new("Fault proxy CA")?) } else { None };
        let server_config = authority.as_ref().map(|authority| {
            let names = ["localhost".to_owned(), listen.ip().to_string()];
            authority.server_config(&authority.server(&names)?, false, true)
        });
        let served = forwarder.clone();
        let service = move |request, connection| served.clone().serve(request, connection);
        let listener = Listener::start(background.handle(), listen, server_config.transpose()?, service)
            .map_err(|source| StartError::Listen { address: listen, source })?;
        Ok(Self { forwarder, listener, authority, _background: background })
    }

    /// The proxy's URL, without a slash at its end.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listener.address())
    }

    /// The authority that signed the proxy's certificate; none in plain HTTP.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// A kubeconfig like `original`, for clients that shall come through the proxy. It must be JSON, as the control
    /// plane writes it, and authenticate by token: certificates end at the proxy.
    pub fn kubeconfig(&self, original: &str) -> Result<String, serde_json::Error> {
        let mut config: Value = serde_json::from_str(original)?;
        let clusters = config["clusters"].as_array_mut();
        for cluster in clusters.into_iter().flatten() {
            cluster["cluster"] = match self.ca_pem() {
                Some(pem) => {
                    let pem = base64::engine::general_purpose::STANDARD.encode(pem);
                    json!({"server": self.url(), "certificate-authority-data": pem})
                }
                None => json!({"server": self.url()}),
            };
        }
        Ok(config.to_string())
    }

    /// Does `fault` to the requests that `when` describes.
    pub fn rule(&self, when: When, fault: Fault) -> RuleId {
        self.forwarder.rules().add(when, fault)
    }

    /// Takes a rule away. What it did to requests under way stays done.
    pub fn remove_rule(&self, id: RuleId) {
        self.forwarder.rules().remove(id);
    }

    /// Takes all rules away.
    pub fn clear_rules(&self) {
        self.forwarder.rules().clear();
    }

    /// Breaks the answers that are on their way now to the requests that `when` describes; its count means nothing
    /// here. Later requests go through.
    pub fn break_open(&self, when: When, how: Break) {
        self.forwarder.breaks.send_replace(Some(Arc::new(BreakOpen { when, how })));
    }

    /// Refuses connections, swallows everything, or goes back to proxying.
    pub fn set_reach(&self, reach: Reach) -> io::Result<()> {
        self.listener.set_reach(reach)
    }

    /// Every request, in the order in which they arrived.
    pub fn traffic(&self) -> Vec<Exchange> {
        self.forwarder.traffic.all()
    }

    /// Empties the record. Rules stay, and what they have counted.
    pub fn forget_traffic(&self) {
        self.forwarder.traffic.forget();
    }

    /// Waits until the traffic is as `wanted`, and returns it. The closure must not ask the proxy.
    pub async fn wait_for(
        &self,
        wanted: impl Fn(&[Exchange]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Exchange>, LimitPassed> {
        self.forwarder.traffic.wait_for(wanted, limit).await
    }

    /// [`Proxy::wait_for`] for those without a runtime.
    pub fn wait_for_blocking(
        &self,
        wanted: impl Fn(&[Exchange]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Exchange>, LimitPassed> {
        self.forwarder.traffic.wait_for_blocking(wanted, limit)
    }
}
