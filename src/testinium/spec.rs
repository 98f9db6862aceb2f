//! The part of a gateway's spec that its calls need, checked once, when a connection is prepared.

use std::time::Duration;

use reqwest::header::HeaderValue;
use url::Url;

use crate::api::PasswordGrant;
use crate::machine::GatewayView;

/// A spec whose URLs and headers can be used.
pub(super) struct CheckedSpec<'a> {
    /// The URL that stops are sent to.
    pub stop_url: Url,
    pub company_id: Option<HeaderValue>,
    /// The longest time of one call, and of one login.
    pub timeout: Duration,
    /// The login that the gateway's token comes from, and the URL of its token endpoint.
    pub login: Option<(&'a PasswordGrant, Url)>,
}

// === impl CheckedSpec ===

impl<'a> CheckedSpec<'a> {
    /// The spec, or what is wrong with it, for users.
    pub fn new(view: &'a GatewayView) -> Result<Self, String> {
        let base = view.spec.url.trim_end_matches('/');
        let stop_url = checked_url("spec.url", &format!("{base}/stop/execution"), view)?;
        let path = stop_url.path().to_ascii_lowercase();
        // The schema refuses it; an object from before that rule may still have it.
        if ["/stop/stop/execution", "/stop/execution/stop/execution"].iter().any(|end| path.ends_with(end)) {
            return Err(
                "spec.url: write the address without /stop/execution at its end: the operator adds it"
                    .to_owned(),
            );
        }
        let company_id = company_id(view)?;
        let login = match &view.spec.auth.password {
            Some(grant) => Some((grant, checked_url("spec.auth.password.tokenURL", &grant.token_url, view)?)),
            None => None,
        };
        let seconds = view.spec.timeout_seconds.unwrap_or(30).clamp(1, 300);
        Ok(Self { stop_url, company_id, timeout: Duration::from_secs(seconds.unsigned_abs()), login })
    }

    /// Whether any of its URLs needs a server to be trusted.
    pub fn is_https(&self) -> bool {
        let token_url = self.login.as_ref().map(|(_, url)| url);
        [Some(&self.stop_url), token_url].into_iter().flatten().any(|url| url.scheme() == "https")
    }
}

/// A URL that a secret may be sent to.
fn checked_url(field: &str, text: &str, view: &GatewayView) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{field} is not a URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if view.spec.allow_plain_http == Some(true) => {}
        "http" => return Err(format!("{field} must begin with https://, or allowPlainHTTP be true")),
        _ => return Err(format!("{field} must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{field} must not hold a user name or password: they belong into the Secret"));
    }
    Ok(url)
}

fn company_id(view: &GatewayView) -> Result<Option<HeaderValue>, String> {
    let text = view.spec.company_id.as_deref().filter(|text| !text.is_empty());
    text.map(|text| {
        HeaderValue::from_str(text).map_err(|_| "spec.companyID must be printable ASCII".to_owned())
    })
    .transpose()
}
