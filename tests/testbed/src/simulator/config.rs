//! The setup of a simulated gateway. Where the published API is silent, there is a setting.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::foreign::Foreign;
use super::login::{Login, TokenRefusal};
use super::plans::{Nature, Report};
use super::reply::ErrorShape;

/// The setup of a gateway. `Default` is the published behaviour, in plain HTTP on a free port.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's address; port 0 is any free one.
    pub listen: SocketAddr,
    /// The RestApi's address; none: a free port of the gateway's address.
    pub rest_api_listen: Option<SocketAddr>,
    /// Put before `/stop/execution`: empty, or a path that begins with a slash and does not end with one.
    pub base_path: String,
    /// How a path that is no endpoint is answered; none: by the envelope, with 404.
    pub unknown_path: Option<Foreign>,
    /// The token accepted from the start.
    pub token: String,
    /// How other tokens are refused.
    pub token_refusal: TokenRefusal,
    /// If set, calls must carry this `X-Company-Id`; others are refused with 400.
    pub company_id: Option<String>,
    /// How long each answer takes.
    pub latency: Duration,
    /// The nature of plans that nobody declared.
    pub default_nature: Nature,
    /// How an unknown plan is reported.
    pub unknown: Report,
    /// How a plan that does not run is reported.
    pub not_running: Report,
    /// Whether a call that is answered 200 with errors has stopped the plans without fault.
    pub stops_the_others: bool,
    /// How `errors` is written.
    pub error_shape: ErrorShape,
    /// Whether errors say which plan they are about.
    pub errors_name_plans: bool,
    /// The longest list taken; a longer one is refused with 400.
    pub max_plans: Option<usize>,
    /// The password login.
    pub login: Login,
    /// Serve HTTPS; none: plain HTTP.
    pub tls: Option<Tls>,
}

/// How HTTPS is served.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The names that the certificate is made out to.
    pub names: Vec<String>,
    /// Whether clients must show a certificate of the same authority.
    pub client_certificate: bool,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            rest_api_listen: None,
            base_path: String::new(),
            unknown_path: None,
            token: "simulated-token".to_owned(),
            token_refusal: TokenRefusal::default(),
            company_id: None,
            latency: Duration::ZERO,
            default_nature: Nature::Running,
            unknown: Report::Refusal(400),
            not_running: Report::Errors,
            stops_the_others: true,
            error_shape: ErrorShape::Objects,
            errors_name_plans: true,
            max_plans: None,
            login: Login::default(),
            tls: None,
        }
    }
}

// === impl Tls ===

impl Default for Tls {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        Self { names, client_certificate: false, http2: true }
    }
}
