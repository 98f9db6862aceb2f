//! Answers that are not Testinium's: the pages of ingresses, firewalls and portals that stand before the gateway.
//!
//! They say nothing about any plan, whatever their status. The texts are those that the products really send.

use clap::ValueEnum;
use serde_json::json;

use super::reply::Reply;

/// An answer of somebody else's, with the status that it usually has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Foreign {
    /// nginx as an ingress that has no rule for the host: 404, HTML.
    NginxNotFound,
    /// Traefik without a route: 404, one line of text.
    TraefikNotFound,
    /// Istio's Envoy without a route: 404, no body.
    IstioNotFound,
    /// An application firewall that dislikes the request: 403, HTML.
    Firewall,
    /// nginx that may not serve the address: 403, HTML.
    NginxForbidden,
    /// A proxy that takes the request for broken: 400, HTML.
    NginxBadRequest,
    /// A proxy that takes the request for broken: 400, one line of text.
    TextBadRequest,
    /// nginx whose upstream takes only smaller bodies: 413, HTML.
    NginxTooLarge,
    /// nginx whose upstream is broken: 502, HTML.
    BadGateway,
    /// nginx without an upstream: 503, HTML.
    Unavailable,
    /// Istio's Envoy without an upstream: 503, one line of text.
    IstioUnavailable,
    /// nginx whose upstream does not answer: 504, HTML.
    GatewayTimeout,
    /// Spring's own answer where no controller is mapped: 404, JSON with the path.
    SpringNotFound,
    /// Spring's own answer to a request that it can't read: 400, JSON with the path.
    SpringBadRequest,
    /// Single sign-on that sends everybody to its login page: 302.
    LoginRedirect,
    /// Single sign-on that answers with its login page at once: 200, HTML.
    LoginPage,
    /// A page that says that the site is being maintained: 200, HTML.
    MaintenancePage,
    /// Another service's health answer: 200, JSON.
    OtherService,
}

// === impl Foreign ===

impl Foreign {
    /// All variants.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its status.
    pub fn status(self) -> u16 {
        match self {
            Self::LoginPage | Self::MaintenancePage | Self::OtherService => 200,
            Self::LoginRedirect => 302,
            Self::NginxBadRequest | Self::TextBadRequest | Self::SpringBadRequest => 400,
            Self::Firewall | Self::NginxForbidden => 403,
            Self::NginxNotFound | Self::TraefikNotFound | Self::IstioNotFound | Self::SpringNotFound => 404,
            Self::NginxTooLarge => 413,
            Self::BadGateway => 502,
            Self::Unavailable | Self::IstioUnavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// The answer to a request for `path`; some quote it.
    pub fn reply(self, path: &str) -> Reply {
        let status = self.status();
        match self {
            Self::NginxNotFound => nginx(status, "Not Found"),
            Self::NginxForbidden => nginx(status, "Forbidden"),
            Self::NginxBadRequest => nginx(status, "Bad Request"),
            Self::NginxTooLarge => nginx(status, "Request Entity Too Large"),
            Self::BadGateway => nginx(status, "Bad Gateway"),
            Self::Unavailable => nginx(status, "Service Temporarily Unavailable"),
            Self::GatewayTimeout => nginx(status, "Gateway Time-out"),
            Self::TraefikNotFound => text(status, "404 page not found\n"),
            Self::TextBadRequest => text(status, "Bad Request"),
            Self::IstioNotFound => Reply::empty(status).header("server", "istio-envoy"),
            Self::IstioUnavailable => text(status, "no healthy upstream").header("server", "istio-envoy"),
            Self::Firewall => page(status, FIREWALL),
            Self::SpringNotFound => spring(status, "Not Found", path),
            Self::SpringBadRequest => spring(status, "Bad Request", path),
            Self::LoginRedirect => Reply::redirect(status, "/login?continue=stop"),
            Self::LoginPage => page(status, LOGIN),
            Self::MaintenancePage => page(status, MAINTENANCE),
            Self::OtherService => Reply::json(status, &json!({"status": "UP"})),
        }
    }
}

// === impl others ===

fn nginx(status: u16, phrase: &str) -> Reply {
    page(
        status,
        &format!(
            "<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n<center><h1>{status} {phrase}</h1>\
             </center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        ),
    )
    .header("server", "nginx")
}

fn page(status: u16, html: &str) -> Reply {
    Reply::raw(status, html.to_owned()).header("content-type", "text/html; charset=utf-8")
}

fn text(status: u16, line: &'static str) -> Reply {
    Reply::raw(status, line).header("content-type", "text/plain; charset=utf-8")
}

/// The body of Spring Boot's default error controller.
fn spring(status: u16, error: &str, path: &str) -> Reply {
    let body =
        json!({"timestamp": "2026-01-02T03:04:05.678+00:00", "status": status, "error": error, "path": path});
    Reply::json(status, &body)
}

const FIREWALL: &str = "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. Please \
     consult with your administrator.<br><br>Your support ID is: 4711004711004711</body></html>";
const LOGIN: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\" \
     method=\"post\"><input name=\"username\"><input name=\"password\" type=\"password\"></form></body></html>\n";
const MAINTENANCE: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body><h1>We will be back \
     soon</h1><p>This service is not available at the moment.</p></body></html>\n";
