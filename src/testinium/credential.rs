//! Connections: an HTTP client with the site's TLS, and the token to show.
//!
//! `Material (what the Secrets hold) -> connect -> Connection`
//!
//! Clients keep pools of open connections and, with the system's CA certificates, about 1 MiB: so all gateways
//! without TLS material of their own share one, and one with its own keeps its client until the material changes.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Identity};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::address::{Guard, Resolver};
use super::client::{builder, checked_url, company_id, stop_headers, stop_url, timeout};
use super::limits::CREDENTIAL_BYTES_MAX;
use super::token::{Login, login};
use crate::aside;
use crate::machine::{GatewayKey, GatewayView, Millis};
use crate::text::chain;

/// What the Secrets and ConfigMaps of a gateway hold. Only what its spec refers to is there.
#[derive(Default)]
pub struct Material {
    /// The token of `spec.auth.bearerToken`.
    pub token: Option<SecretString>,
    /// Of `spec.auth.password`, as the next four.
    pub username: Option<SecretString>,
    pub password: Option<SecretString>,
    pub client_id: Option<SecretString>,
    pub client_secret: Option<SecretString>,
    /// Counts before `client_id` and `client_secret`, if all are there.
    pub client_key: Option<SecretString>,
    /// CA certificates of `spec.tls.caRef`.
    pub ca_pem: Option<String>,
    /// Client certificate of `spec.tls.clientCertificateRef`, with its chain, and its key.
    pub client_cert_pem: Option<String>,
    pub client_key_pem: Option<SecretString>,
}

/// All that a call needs beside its plans, prepared once from the gateway's spec and Secrets.
pub struct Connection {
    pub(super) gateway: GatewayKey,
    pub(super) http: Client,
    pub(super) guard: Arc<Guard>,
    pub(super) stop_url: Url,
    /// The headers of every stop, the token among them.
    pub(super) headers: HeaderMap,
    /// How long one call may take.
    pub(super) timeout: Duration,
    /// The token by itself: a gateway may quote it in its answer.
    pub(super) token: SecretString,
    tls: Arc<Tls>,
}

/// Why there is no connection. The texts are for users and hold no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// What the spec or the Secrets say can't be used; somebody must change it.
    #[error("{0}")]
    Invalid(String),
    /// The token endpoint refused the login. Another try with the same password could lock the account.
    #[error("{0}")]
    Refused(String),
    /// No login was possible just now.
    #[error("{why}")]
    Failed { why: String, retry_after: Option<Millis> },
}

/// What all gateways share.
pub struct Network {
    guard: Arc<Guard>,
    system: Mutex<Option<Client>>,
    plain: Mutex<Option<Client>>,
}

/// Whom a client trusts and as whom it shows itself.
struct Tls {
    trust: Trust,
    identity: Option<(String, SecretString)>,
}

#[derive(Eq, PartialEq)]
enum Trust {
    /// Nobody: there is no https URL. An image without CA certificates can still serve plain http.
    Nobody,
    System,
    Only(String),
}

/// Makes a connection to a gateway: checks what its spec and Secrets say, and logs in if that is its way.
///
/// Takes over the client of an earlier connection if the TLS material is still the same. Also says how long the
/// token is good for, if that is known.
pub async fn connect(
    view: &GatewayView,
    material: Material,
    earlier: Option<&Connection>,
    network: &Network,
) -> Result<(Connection, Option<Millis>), ConnectError> {
    let stop_url = stop_url(view).map_err(ConnectError::Invalid)?;
    company_id(view).map_err(ConnectError::Invalid)?;
    let grant = view.spec.auth.password.as_ref();
    let token_url = grant.map(|grant| checked_url("spec.auth.password.tokenURL", &grant.token_url, view));
    let token_url = token_url.transpose().map_err(ConnectError::Invalid)?;

    let tls = Tls::new(view, &material, [Some(&stop_url), token_url.as_ref()].into_iter().flatten())?;
    let (http, tls) = match earlier {
        Some(earlier) if *earlier.tls == tls => (earlier.http.clone(), earlier.tls.clone()),
        _ => network.client(Arc::new(tls)).await?,
    };
    let (guard, timeout) = (network.guard.clone(), timeout(view));

    let (token, good_for) = match (grant, token_url) {
        (Some(grant), Some(url)) => {
            let login_data = Login::new(grant, &material)?;
            let granted = login(&http, &guard, &url, &login_data, timeout).await?;
            (granted.token, Some(granted.good_for))
        }
        _ => {
            let token = material.token.ok_or_else(|| invalid("spec.auth names no token"))?;
            let token = checked_token(&token).map_err(|why| invalid(format!("the token {why}")))?;
            (token, None)
        }
    };
    let headers = stop_headers(view, &token).map_err(ConnectError::Invalid)?;
    let gateway = view.key.clone();
    Ok((Connection { gateway, http, guard, stop_url, headers, timeout, token, tls }, good_for))
}

/// Makes ring the process's cryptography, unless there is one already. To be called before any client is made.
pub fn install_crypto() {
    // Fails only if another is installed, which is then good enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

// === impl Material ===

// What is meant to be public may hold a key by mistake.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

// === impl Connection ===

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
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
        }
    }

    async fn client(&self, tls: Arc<Tls>) -> Result<(Client, Arc<Tls>), ConnectError> {
        let shared = match &*tls {
            Tls { trust: Trust::System, identity: None } => &self.system,
            Tls { trust: Trust::Nobody, identity: None } => &self.plain,
            Tls { .. } => {
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

// === impl Tls ===

impl Tls {
    fn new<'a>(
        view: &GatewayView,
        material: &Material,
        mut urls: impl Iterator<Item = &'a Url>,
    ) -> Result<Self, ConnectError> {
        let refs = view.spec.tls.as_ref();
        let trust = match (&material.ca_pem, refs.and_then(|tls| tls.ca_ref.as_ref())) {
            (Some(pem), _) => Trust::Only(pem.clone()),
            // To fall back on the system's would trust more than was asked for.
            (None, Some(_)) => return Err(invalid("spec.tls.caRef names no CA certificates")),
            (None, None) if urls.any(|url| url.scheme() == "https") => Trust::System,
            (None, None) => Trust::Nobody,
        };
        let identity = match (&material.client_cert_pem, &material.client_key_pem) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) if refs.is_none_or(|tls| tls.client_certificate_ref.is_none()) => None,
            _ => return Err(invalid("spec.tls.clientCertificateRef needs both tls.crt and tls.key")),
        };
        Ok(Self { trust, identity })
    }

    /// How much there is to read. The arithmetic of a key takes longer than its length tells.
    fn size(&self) -> usize {
        const OF_A_KEY: usize = 16 * 1024;
        let trust = if let Trust::Only(pem) = &self.trust { pem.len() } else { 0 };
        let identity = self.identity.as_ref().map_or(0, |(certificate, _)| certificate.len() + OF_A_KEY);
        trust + identity
    }

    fn client(&self, guard: Arc<Guard>) -> Result<Client, ConnectError> {
        let mut builder = builder().dns_resolver(Arc::new(Resolver(guard)));
        match &self.trust {
            Trust::System => {}
            Trust::Nobody => builder = builder.tls_certs_only([]),
            Trust::Only(pem) => builder = builder.tls_certs_only(certificates(pem)?),
        }
        if let Some((certificate, key)) = &self.identity {
            let pem = SecretString::from(format!("{certificate}\n{}", key.expose_secret()));
            let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| {
                invalid("the client certificate (spec.tls.clientCertificateRef) must hold PEM in tls.crt and tls.key")
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| {
            let cause = chain(&error);
            match self.trust {
                Trust::System if self.identity.is_none() => invalid(format!(
                    "the operator's image has no usable CA certificates ({cause}): set spec.tls.caRef, or mount a \
                     bundle and name it in SSL_CERT_FILE"
                )),
                _ => invalid(format!("the certificates of spec.tls can't be used: {cause}")),
            }
        })
    }
}

// The key is compared byte by byte; whoever could time that holds the Secret already.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let keys = |(certificate, key): &(String, SecretString),
                    (other, other_key): &(String, SecretString)| {
            certificate == other && key.expose_secret() == other_key.expose_secret()
        };
        let identities = match (&self.identity, &other.identity) {
            (Some(one), Some(other)) => keys(one, other),
            (None, None) => true,
            _ => false,
        };
        self.trust == other.trust && identities
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, ConnectError> {
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(invalid("the CA certificates (spec.tls.caRef) must be one or more certificates in PEM")),
    }
}

pub(super) fn invalid(why: impl Into<String>) -> ConnectError {
    ConnectError::Invalid(why.into())
}

/// A value of a Secret without the line break that editors and `echo` put at its end.
pub(super) fn trimmed(secret: &SecretString) -> &str {
    let text = secret.expose_secret();
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

/// A token that can be sent in a header, or what is wrong with it, without showing it.
pub(super) fn checked_token(secret: &SecretString) -> Result<SecretString, String> {
    let token = checked_text(secret)?;
    if token.chars().any(char::is_whitespace) {
        Err("contains a space: it must be the token alone, without a word such as Bearer before it"
            .to_owned())
    } else if !token.bytes().all(|b| b.is_ascii_graphic()) {
        Err("contains a character that is not printable ASCII".to_owned())
    } else {
        Ok(token.into())
    }
}

/// A value of a Secret that looks like a credential, or what is wrong with it, without showing it. What doesn't is
/// most often another thing, such as a key file, and shall not be sent anywhere.
pub(super) fn checked_text(secret: &SecretString) -> Result<&str, String> {
    let text = trimmed(secret);
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > CREDENTIAL_BYTES_MAX {
        Err(format!("is longer than {CREDENTIAL_BYTES_MAX} bytes: write the credential alone"))
    } else if text.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        Err("contains a line break: write the credential alone, in one line".to_owned())
    } else if text.contains(char::is_control) {
        Err("contains a character that can't be printed: write the credential as text".to_owned())
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use testinium_testbed::simulator::{Config, Simulator, Tls as Served};

    use super::super::fixtures::{bearer, network, secret, simulator, view};
    use super::*;
    use crate::api;

    fn tls_simulator() -> Simulator {
        simulator(Config { tls: Some(Served::default()), ..Config::default() })
    }

    async fn refusal(view: &GatewayView, material: Material) -> String {
        match connect(view, material, None, &network()).await {
            Err(ConnectError::Invalid(why)) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn tokens_are_checked_and_never_shown() {
        for (text, expected) in [
            ("abc.DEF-123_~+/=", Ok("abc.DEF-123_~+/=")),
            ("abc\n", Ok("abc")),
            ("abc\r\n", Ok("abc")),
            ("abc\n\n", Err("line break")),
            ("ab\tc", Err("can't be printed")),
            ("ab\u{2028}c", Err("line break")),
            ("Bearer abc", Err("Bearer")),
            (" abc", Err("space")),
            ("ab\nc", Err("line break")),
            ("ab\u{0}c", Err("can't be printed")),
            ("abç", Err("ASCII")),
            ("", Err("empty")),
            ("\n", Err("empty")),
            (&"a".repeat(16_384), Ok(&"a".repeat(16_384))),
            (&"a".repeat(16_385), Err("longer than 16384 bytes")),
            ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n", Err("in one line")),
        ] {
            let checked = checked_token(&SecretString::from(text));
            match (&checked, expected) {
                (Ok(token), Ok(expected)) => assert_eq!(token.expose_secret(), expected, "{text:?}"),
                (Err(why), Err(part)) => {
                    assert!(why.contains(part) && !why.contains("abc"), "{text:?}: {why}")
                }
                _ => assert!(checked.is_ok() == expected.is_ok(), "{text:?}: {checked:?}"),
            }
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
        let why = refusal(&view("http://gateway.example.com"), Material::default()).await;
        assert!(why.contains("token"), "{why}");
    }

    #[tokio::test]
    async fn certificates_that_can_not_be_used_say_why() {
        let (site, other) = (tls_simulator(), tls_simulator());
        let ca = |pem: &str| Material { ca_pem: Some(pem.into()), ..bearer("token") };
        let identity = site.client_identity().expect("TLS is on");
        let client = |certificate: &str, key: &str| Material {
            client_cert_pem: Some(certificate.into()),
            client_key_pem: secret(key),
            ..ca(site.ca_pem().unwrap_or_default())
        };
        let other_key = &other.client_identity().expect("TLS is on").key_pem;
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (name, material, part) in [
            ("no PEM", ca("nonsense"), "must be one or more certificates"),
            ("a key instead", ca(&identity.key_pem), "must be one or more certificates"),
            ("no DER", ca(not_der), "can't be used"),
            ("no key", client(&identity.certificate_pem, "nonsense"), "tls.crt and tls.key"),
            ("no certificate", client("", &identity.key_pem), "tls.crt and tls.key"),
            ("key of another", client(&identity.certificate_pem, other_key), "can't be used"),
            ("half", Material { client_key_pem: None, ..client("x", "y") }, "both tls.crt and tls.key"),
        ] {
            let why = refusal(&view(&site.url()), material).await;
            assert!(why.contains(part), "{name}: {why}");
        }
    }

    #[tokio::test]
    async fn clients_live_as_long_as_their_tls() {
        let (site, other) = (tls_simulator(), tls_simulator());
        let network = network();
        let view = view(&site.url());
        let ca = |site: &Simulator| Material {
            ca_pem: site.ca_pem().map(str::to_owned),
            ..bearer("simulated-token")
        };
        let (first, _) = connect(&view, ca(&site), None, &network).await.expect("it is usable");
        for (name, material, same) in [
            ("the same", ca(&site), true),
            ("another token", Material { token: secret("other"), ..ca(&site) }, true),
            ("another CA", ca(&other), false),
        ] {
            let (next, _) = connect(&view, material, Some(&first), &network).await.expect("it is usable");
            assert_eq!(Arc::ptr_eq(&first.tls, &next.tls), same, "{name}");
        }
    }

    #[tokio::test]
    async fn nothing_shows_a_secret() {
        let marked = || secret("mark-5ecret");
        let material = Material {
            token: marked(),
            username: marked(),
            password: marked(),
            client_id: marked(),
            client_secret: marked(),
            client_key: marked(),
            client_key_pem: marked(),
            ca_pem: Some("mark-5ecret".into()),
            client_cert_pem: Some("mark-5ecret".into()),
        };
        assert!(!format!("{material:?}").contains("5ecret"));
        let (connection, _) = connect(&view("http://gateway"), bearer("mark-5ecret"), None, &network())
            .await
            .expect("it is usable");
        assert!(!format!("{connection:?} {:?}", network()).contains("5ecret"));
    }
}
