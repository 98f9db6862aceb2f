//! Connections: all that a call needs, prepared once from a gateway's spec and Secrets.
//!
//! `CredentialData (the content of the Secrets) -> connect -> Connection`
//!
//! An edit of the spec or of a Secret leads to another connection, never to a change of one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::address::Guard;
use super::clients::TlsClient;
use super::credential_data::{CredentialData, checked_token};
use super::error::{ConnectError, invalid};
use super::login::{Granted, Login, login};
use super::logins::{LoginKey, Wanted};
use super::network::Network;
use super::spec::CheckedSpec;
use super::tls::TlsSetup;
use crate::machine::{GatewayKey, GatewayView, Millis};

const COMPANY_ID: HeaderName = HeaderName::from_static("x-company-id");

/// All that a call needs beside its plans, prepared once from the gateway's spec and Secrets.
pub struct Connection {
    pub(super) gateway: GatewayKey,
    /// The client that it shares with every connection of the same TLS setup.
    pub(super) http: Arc<TlsClient>,
    pub(super) guard: Arc<Guard>,
    pub(super) stop_url: Url,
    /// The headers of every stop, the token among them.
    pub(super) headers: HeaderMap,
    /// The longest time of one call.
    pub(super) timeout: Duration,
    /// The token by itself, which is hidden in answers: a gateway may quote it.
    pub(super) token: SecretString,
    /// The login that the token is of. Other gateways' connections may have it as well.
    granted: Option<Arc<Granted>>,
}

/// Makes a connection to a gateway: checks its spec and the content of its Secrets, and logs in if that is its way and
/// no other gateway has done so with the same Secret.
///
/// Also says how long the token is good for, if that is known. `earlier`: the connection of the reading before, whose
/// login may still be good.
pub async fn connect(
    view: &GatewayView,
    data: CredentialData,
    earlier: Option<&Connection>,
    network: &Network,
) -> Result<(Connection, Option<Millis>), ConnectError> {
    let spec = CheckedSpec::new(view).map_err(ConnectError::Invalid)?;
    let tls = TlsSetup::new(view.spec.tls.as_ref(), &spec, &data)?;
    let http = network.clients.client(tls, &network.guard).await?;
    let guard = network.guard.clone();
    let CheckedSpec { stop_url, company_id, timeout, login: by_login } = spec;
    let (token, granted) = match by_login {
        Some((grant, token_url)) => {
            Login::new(grant, &data)?;
            let secret = data.login_secret.clone();
            let key = secret.as_ref().map(|secret| LoginKey::new(&token_url, secret, grant));
            let (client, guard, grant) = (http.client.clone(), guard.clone(), grant.clone());
            let made =
                async move { login(&client, &guard, &token_url, &Login::new(&grant, &data)?, timeout).await };
            let granted = match key.zip(secret) {
                Some((key, secret)) => {
                    network.logins.recall(&key, view, &secret, Timestamp::now());
                    let earlier = earlier.and_then(|earlier| earlier.granted.as_ref());
                    network.logins.token(Wanted { key, earlier, tls: &http.setup, timeout }, made).await?
                }
                None => Arc::new(made.await?),
            };
            (granted.token.clone(), Some(granted))
        }
        None => {
            let token = data.token.ok_or_else(|| invalid("spec.auth names no token"))?;
            (checked_token(&token).map_err(|why| invalid(format!("the token {why}")))?, None)
        }
    };
    let headers = stop_headers(company_id, &token)?;
    let (gateway, good_for) = (view.key.clone(), granted.as_ref().map(|granted| granted.good_for()));
    Ok((Connection { gateway, http, guard, stop_url, headers, timeout, token, granted }, good_for))
}

/// The headers of every stop: the token, the company if there is one, and the form of the body.
fn stop_headers(company_id: Option<HeaderValue>, token: &SecretString) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(company) = company_id {
        headers.insert(COMPANY_ID, company);
    }
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| invalid("the token can't be sent in a header"))?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Ok(headers)
}

// === impl Connection ===

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use testinium_testbed::simulator::{Config, Simulator, Tls as Served};

    use super::super::fixtures::{bearer, connected, network, secret, simulator, view};
    use super::*;
    use crate::api;

    fn tls_simulator() -> Simulator {
        simulator(Config { tls: Some(Served::default()), ..Config::default() })
    }

    async fn refusal(view: &GatewayView, data: CredentialData) -> String {
        match connect(view, data, None, &network()).await {
            Err(ConnectError::Invalid(why)) => why,
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn specs_that_can_not_be_used_say_why() {
        let with = |change: fn(&mut api::TestiniumGatewaySpec)| {
            let mut view = view("https://gateway.example.com");
            change(&mut view.spec);
            view
        };
        for (view, part) in [
            (with(|spec| spec.url = "gateway.example.com".into()), "spec.url is not a URL"),
            (with(|spec| spec.url = "ftp://gateway".into()), "spec.url must begin with https://"),
            (with(|spec| spec.url = "https://a:b@gateway".into()), "user name or password"),
            (with(|spec| spec.company_id = Some("a\nb".into())), "spec.companyID"),
            (
                with(|spec| {
                    spec.url = "http://gateway".into();
                    spec.allow_plain_http = None;
                }),
                "allowPlainHTTP",
            ),
        ] {
            let why = refusal(&view, bearer("token")).await;
            assert!(why.contains(part), "{part}: {why}");
        }
        let why = refusal(&view("http://gateway.example.com"), CredentialData::default()).await;
        assert!(why.contains("token"), "{why}");
    }

    #[tokio::test]
    async fn certificates_that_can_not_be_used_say_why() {
        let (site, other) = (tls_simulator(), tls_simulator());
        let ca = |pem: &str| CredentialData { ca_pem: Some(pem.into()), ..bearer("token") };
        let identity = site.client_identity().expect("TLS is on");
        let client = |certificate: &str, key: &str| CredentialData {
            client_cert_pem: Some(certificate.into()),
            client_key_pem: secret(key),
            ..ca(site.ca_pem().unwrap_or_default())
        };
        let other_key = &other.client_identity().expect("TLS is on").key_pem;
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (name, data, part) in [
            ("no PEM", ca("nonsense"), "must be one or more certificates"),
            ("a key instead", ca(&identity.key_pem), "must be one or more certificates"),
            ("no DER", ca(not_der), "can't be used"),
            ("no key", client(&identity.certificate_pem, "nonsense"), "tls.crt and tls.key"),
            ("no certificate", client("", &identity.key_pem), "tls.crt and tls.key"),
            ("key of another", client(&identity.certificate_pem, other_key), "can't be used"),
            ("half", CredentialData { client_key_pem: None, ..client("x", "y") }, "both tls.crt and tls.key"),
        ] {
            let why = refusal(&view(&site.url()), data).await;
            assert!(why.contains(part), "{name}: {why}");
        }
    }

    #[tokio::test]
    async fn clients_live_as_long_as_their_tls() {
        let (site, other) = (tls_simulator(), tls_simulator());
        let network = network();
        let view = view(&site.url());
        let ca = |site: &Simulator| CredentialData {
            ca_pem: site.ca_pem().map(str::to_owned),
            ..bearer("simulated-token")
        };
        let (first, _) = connect(&view, ca(&site), None, &network).await.expect("it is usable");
        // Another gateway, which has no earlier connection, shares it as well.
        let (next, _) = connect(&view, ca(&site), None, &network).await.expect("it is usable");
        assert!(Arc::ptr_eq(&first.http, &next.http), "equal certificates are kept once");
        for (name, data, same) in [
            ("the same", ca(&site), true),
            ("another token", CredentialData { token: secret("other"), ..ca(&site) }, true),
            ("another CA", ca(&other), false),
        ] {
            let (next, _) = connect(&view, data, Some(&first), &network).await.expect("it is usable");
            assert_eq!(Arc::ptr_eq(&first.http, &next.http), same, "{name}");
        }
        let kept = Arc::downgrade(&first.http);
        drop((first, next));
        assert!(kept.upgrade().is_none(), "nobody has this setup any more");
    }

    #[tokio::test]
    async fn nothing_shows_a_secret() {
        let connection = connected(&view("http://gateway"), bearer("mark-5ecret")).await;
        assert!(!format!("{connection:?} {:?}", network()).contains("5ecret"));
    }
}
