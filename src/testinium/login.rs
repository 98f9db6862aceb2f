//! Logging in: user name and password for a token that expires.
//!
//! This is the OAuth password grant as Testinium publishes it. Release 1.16 wants client id and secret beside it, 2.0
//! one client key. It matters most here to tell a refused login from a failed one: a wrong password that is tried again
//! locks the account, and the account may be a person's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::{Position, Url, form_urlencoded};

use super::address::Guard;
use super::credential_data::{CredentialData, checked_text, checked_token};
use super::error::{ConnectError, invalid};
use super::http::{Received, send};
use super::redact::Secrets;
use super::{json, refusal};
use crate::api::PasswordGrant;
use crate::aside;
use crate::machine::{Millis, NoAnswer};
use crate::seldom::Seldom;

/// The life of a token if the answer does not say it: that of Testinium's documented example. If it lasts longer, a
/// login too many is made in an hour; if shorter, the first 401 leads to one.
const GOOD_FOR_UNKNOWN: Millis = Millis(3600 * 1000);

/// The shortest life that is believed, so that an answer can't cause a storm of logins.
const GOOD_FOR_MIN: Millis = Millis(60 * 1000);

/// The credential that a login sends.
pub(super) struct Login<'a> {
    username: &'a str,
    password: &'a str,
    scope: Option<&'a str>,
    client: LoginClient<'a>,
}

enum LoginClient<'a> {
    IdAndSecret(&'a str, &'a str),
    Key(SecretString),
}

/// A token, how long it is good for, and since when.
pub(super) struct Granted {
    pub token: SecretString,
    good_for: Millis,
    since: Instant,
}

// === impl Login ===

impl<'a> Login<'a> {
    pub fn new(grant: &'a PasswordGrant, data: &'a CredentialData) -> Result<Self, ConnectError> {
        let value = |name: &str, secret: &'a Option<SecretString>| match secret {
            // A value that is a line break alone counts as absent.
            Some(secret) if !matches!(secret.expose_secret(), "" | "\n" | "\r\n") => checked_text(secret)
                .map(Some)
                .map_err(|why| invalid(format!("the {name} in the Secret of spec.auth.password {why}"))),
            _ => Ok(None),
        };
        let (username, password) = (value("username", &data.username)?, value("password", &data.password)?);
        let (Some(username), Some(password)) = (username, password) else {
            return Err(invalid("the Secret of spec.auth.password needs the keys username and password"));
        };
        let (id, secret) = (value("clientId", &data.client_id)?, value("clientSecret", &data.client_secret)?);
        let client = match (&data.client_key, id, secret) {
            (Some(key), ..) => {
                LoginClient::Key(checked_token(key).map_err(|why| invalid(format!("the clientKey {why}")))?)
            }
            (None, Some(id), _) if id.contains(':') => {
                return Err(invalid("the clientId must not contain a colon"));
            }
            (None, Some(id), Some(secret)) => LoginClient::IdAndSecret(id, secret),
            (None, ..) => {
                return Err(invalid(
                    "the Secret of spec.auth.password needs either clientKey, or clientId and clientSecret",
                ));
            }
        };
        Ok(Self {
            username,
            password,
            scope: grant.scope.as_deref().filter(|scope| !scope.is_empty()),
            client,
        })
    }

    fn request(&self, http: &Client, url: &Url) -> Result<RequestBuilder, ConnectError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "password");
        form.append_pair("username", self.username).append_pair("password", self.password);
        if let Some(scope) = self.scope {
            form.append_pair("scope", scope);
        }
        let request = http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut authorization = HeaderValue::from_str(&self.client.header())
            .map_err(|_| invalid("the clientKey can't be sent in a header"))?;
        authorization.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, authorization).body(form.finish()))
    }

    /// Every value of the Secret, and the header that was made of it. They are hidden in the log, which people read who
    /// may not read the Secret.
    fn secrets(&self) -> Secrets<'_> {
        let of_user = [self.username, self.password];
        match &self.client {
            LoginClient::IdAndSecret(id, secret) => {
                let pair = format!("{id}:{secret}");
                Secrets::new(of_user.into_iter().chain([*id, *secret]))
                    .and_sent(pair)
                    .and_sent(self.client.header())
            }
            LoginClient::Key(key) => Secrets::new(of_user.into_iter().chain([key.expose_secret()])),
        }
    }
}

// === impl LoginClient ===

impl LoginClient<'_> {
    fn header(&self) -> String {
        match self {
            Self::IdAndSecret(id, secret) => format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))),
            Self::Key(key) => format!("Basic {}", key.expose_secret()),
        }
    }
}

// === impl Granted ===

impl Granted {
    pub fn new(token: SecretString, good_for: Millis) -> Self {
        Self { token, good_for, since: Instant::now() }
    }

    /// How much longer it is good for.
    pub fn good_for(&self) -> Millis {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Millis(self.good_for.0.saturating_sub(passed))
    }

    /// Whether so much of its life is left that nobody need log in anew.
    pub fn is_fresh(&self) -> bool {
        self.good_for() > Millis(self.good_for.0 / 5)
    }
}

/// The token endpoints of which the log says that a login got no answer.
static UNANSWERED: Seldom = Seldom::new();

/// Asks for a token, once.
pub(super) async fn login(
    http: &Client,
    guard: &Guard,
    url: &Url,
    login: &Login<'_>,
    timeout: Duration,
) -> Result<Granted, ConnectError> {
    let request = login.request(http, url)?.timeout(timeout);
    let (host, token_endpoint) = (url.host_str().unwrap_or_default(), &url[..Position::AfterPath]);
    match send(guard, url, request).await {
        Ok(received) => {
            if UNANSWERED.is_over(host, token_endpoint) {
                tracing::info!(token_endpoint, "logins are answered again");
            }
            let size = received.body.as_ref().map_or(0, Vec::len);
            let judged = aside::work(size, move || judge(&received)).await;
            judged.unwrap_or_else(|aside::Panicked| {
                Err(failed("the token endpoint's answer can't be read".to_owned(), None))
            })
        }
        Err((no_answer, error)) => {
            let error = login.secrets().clean_error(&error);
            if let Some(left_out) = UNANSWERED.is_due(host, token_endpoint, &error) {
                tracing::warn!(token_endpoint, ?no_answer, error, left_out, "a login got no answer");
            }
            Err(failed(format!("the token endpoint {}", lost(no_answer)), None))
        }
    }
}

/// A refusal is a 401, or a code of OAuth or Testinium in any other answer. All else is no word on the login: a proxy or a
/// firewall may have given it.
fn judge(received: &Received) -> Result<Granted, ConnectError> {
    let Received { status, retry_after, body } = received;
    let body = body.as_deref().unwrap_or_default();
    let granted = if status.is_success() { grant(body) } else { Err(String::new()) };
    let why = match granted {
        Ok(granted) => return Ok(granted),
        Err(why) => why,
    };
    let code = refusal::code(body);
    let refuses = code.as_ref().is_some_and(|code| code.refuses);
    let said = match code.and_then(|code| code.told) {
        Some(told) => format!("{status} ({told})"),
        None => status.to_string(),
    };
    let why = match status.as_u16() {
        300..=399 => {
            let why = format!(
                "the token endpoint redirects ({status}): spec.auth.password.tokenURL must be the final address"
            );
            return Err(failed(why, None));
        }
        401 => return Err(refused(said)),
        _ if refuses => return Err(refused(said)),
        200..=299 => format!("the token endpoint's answer {why}"),
        404 | 405 => format!("there is no token endpoint at spec.auth.password.tokenURL ({status})"),
        500.. => format!("the token endpoint failed: {said}"),
        _ => format!("the token endpoint's answer is none to a login: {said}; it is tried again"),
    };
    Err(failed(why, *retry_after))
}

/// The token of an answer, or what is wrong with the answer.
fn grant(body: &[u8]) -> Result<Granted, String> {
    let Some(Value::Object(answer)) = json::parse(body) else { return Err("is not JSON".to_owned()) };
    let Some(token) = answer.get("access_token").and_then(Value::as_str) else {
        return Err("has no access_token".to_owned());
    };
    let token =
        checked_token(&SecretString::from(token)).map_err(|why| format!("has an access_token that {why}"))?;
    match answer.get("token_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err("has a token_type other than bearer".to_owned()),
    }
    let seconds = match answer.get("expires_in") {
        Some(Value::Number(seconds)) => seconds.as_f64(),
        Some(Value::String(seconds)) => seconds.trim().parse().ok(),
        _ => None,
    };
    let good_for = match seconds {
        // The cast saturates, and makes a zero of what is no number.
        Some(seconds) => Millis((seconds * 1000.0) as u64).max(GOOD_FOR_MIN),
        None => GOOD_FOR_UNKNOWN,
    };
    Ok(Granted::new(token, good_for))
}

fn lost(no_answer: NoAnswer) -> &'static str {
    match no_answer {
        NoAnswer::Timeout => "did not answer in time",
        NoAnswer::Dns => "has a host name that could not be resolved",
        NoAnswer::Connect => "could not be connected to",
        NoAnswer::Tls => "could not be trusted: the TLS handshake failed",
        NoAnswer::Broken => "broke the connection before its answer was whole",
        NoAnswer::AddressRefused => "has an address that gateways must not have (see --allow-gateway-cidr)",
    }
}

/// What the message of a refused login begins with.
pub(super) const REFUSED: &str = "the token endpoint refused the login";

fn refused(said: String) -> ConnectError {
    ConnectError::Refused(format!("{REFUSED}: {said}; correct the Secret, and it is tried again"))
}

pub(super) fn no_answer_in_time() -> ConnectError {
    failed(format!("the token endpoint {}", lost(NoAnswer::Timeout)), None)
}

fn failed(why: String, retry_after: Option<Millis>) -> ConnectError {
    ConnectError::Failed { why, retry_after }
}

#[cfg(test)]
mod tests {
    use testinium_testbed::simulator::{
        Client as Program, Config, Endpoint, Login as Account, Reply, Simulator, When,
    };

    use super::super::fixtures::{login_view, network, secret, simulator};
    use super::super::{Connection, connect, post_stop};
    use super::*;
    use crate::machine::{Answer, PlanId};

    const PASSWORD: &str = "pa ss+wörd&5ecret";

    fn site(client: Program) -> Simulator {
        let login = Account {
            username: "nightly@corp".into(),
            password: PASSWORD.into(),
            client,
            ..Account::default()
        };
        simulator(Config { login, ..Config::default() })
    }

    fn key() -> Program {
        Program::Key("client-key-5ecret".into())
    }

    fn data(password: &str) -> CredentialData {
        CredentialData {
            username: secret("nightly@corp\n"),
            password: secret(password),
            client_key: secret("client-key-5ecret"),
            ..CredentialData::default()
        }
    }

    async fn log_in(
        site: &Simulator,
        data: CredentialData,
    ) -> Result<(Connection, Option<Millis>), ConnectError> {
        connect(&login_view(&site.url(), &site.token_url()), data, None, &network()).await
    }

    #[tokio::test]
    async fn both_variants_log_in() {
        let basic = Program::Basic { id: "operator".into(), secret: "cl:ient 5ecret".into() };
        let with_id = CredentialData {
            client_id: secret("operator"),
            client_secret: secret("cl:ient 5ecret"),
            client_key: None,
            ..data(PASSWORD)
        };
        for (site, data) in [(site(basic), with_id), (site(key()), data(PASSWORD))] {
            let (connection, good_for) = log_in(&site, data).await.expect("the login is right");
            assert_eq!(good_for, Some(Millis(Account::default().expires_in * 1000)));
            let answer = post_stop(&connection, &[PlanId(614)], false).await;
            assert!(matches!(answer, Answer::Reply(reply) if reply.status == 200));

            let requests = site.requests();
            let login =
                requests.iter().find(|request| request.endpoint == Endpoint::Token).expect("one was made");
            assert_eq!(login.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
            assert!(login.body.ends_with(b"&scope=read+write"), "{:?}", login.body);
        }
    }

    #[tokio::test]
    async fn a_wrong_login_is_refused() {
        let site = site(key());
        for (name, data) in [
            ("password", data("wrong-5ecret")),
            ("client", CredentialData { client_key: secret("wrong-5ecret"), ..data(PASSWORD) }),
        ] {
            let error = log_in(&site, data).await.expect_err("it is wrong");
            assert!(matches!(error, ConnectError::Refused(_)), "{name}: {error:?}");
            assert!(!error.to_string().contains("5ecret"), "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn answers_are_refusals_or_failures() {
        let site = site(key());
        let quoting =
            format!(r#"{{"error": "invalid_grant", "error_description": "bad password {PASSWORD}"}}"#);
        for (name, reply, refused, part) in [
            (
                "OAuth's words",
                Reply::raw(400, quoting.clone()),
                true,
                "400 Bad Request (invalid_grant: the user name or password is wrong, or the account is locked)",
            ),
            ("no words", Reply::empty(401), true, "401 Unauthorized"),
            ("a proxy's words", Reply::html(403), false, "is none to a login: 403 Forbidden"),
            ("a proxy's 400", Reply::html(400), false, "is none to a login: 400 Bad Request"),
            ("nothing", Reply::empty(403), false, "is none to a login: 403 Forbidden"),
            ("Spring's words", Reply::raw(403, r#"{"status": 403, "error": "Forbidden"}"#), false, "403"),
            (
                "a code of the site's own",
                Reply::raw(423, r#"{"error": "account_locked"}"#),
                true,
                "423 Locked",
            ),
            ("a refusal as 500", Reply::raw(500, quoting.clone()), true, "invalid_grant"),
            ("overloaded", Reply::raw(503, r#"{"error": "temporarily_unavailable"}"#), false, "maintained"),
            ("no with 200", Reply::raw(200, quoting), true, "invalid_grant"),
            ("elsewhere", Reply::redirect(302, &site.elsewhere_url()), false, "redirects"),
            ("wrong path", Reply::html(404), false, "no token endpoint"),
            ("server error", Reply::refusal(500), false, "500 Internal Server Error (INTERNAL_SERVER_ERROR"),
            ("no token", Reply::raw(200, r#"{"scope": "read"}"#), false, "has no access_token"),
            ("no JSON", Reply::html(200), false, "is not JSON"),
            ("too large", Reply::huge(1 << 20), false, "is not JSON"),
            (
                "no bearer",
                Reply::raw(200, r#"{"access_token": "a", "token_type": "mac"}"#),
                false,
                "token_type",
            ),
            (
                "bad token",
                Reply::raw(200, r#"{"access_token": "a b"}"#),
                false,
                "access_token that contains a space",
            ),
            ("dropped", Reply::dropped(), false, "broke the connection"),
        ] {
            site.script(When::always().to(Endpoint::Token), reply);
            let error = log_in(&site, data(PASSWORD)).await.expect_err("no row has a token");
            assert_eq!(matches!(error, ConnectError::Refused(_)), refused, "{name}: {error:?}");
            assert!(error.to_string().contains(part), "{name}: {error}");
            site.clear_scripts();
        }
        assert!(site.elsewhere().is_empty(), "redirects are not followed");

        site.script(
            When::always().to(Endpoint::Token),
            Reply::empty(429).retry_after(Duration::from_secs(9)),
        );
        let error = log_in(&site, data(PASSWORD)).await.expect_err("too many");
        assert!(matches!(error, ConnectError::Failed { retry_after: Some(Millis(9000)), .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_token_endpoint_has_no_inner_address_either() {
        let site = site(key());
        let network = super::super::Network::new(Vec::new(), Vec::new());
        let view = login_view("http://gateway.example.com", &site.token_url());
        let data = CredentialData { ca_pem: None, ..data(PASSWORD) };
        let error = connect(&view, data, None, &network).await.expect_err("it is on loopback");
        assert!(error.to_string().contains("--allow-gateway-cidr"), "{error}");
        assert!(site.requests().is_empty());
    }

    #[tokio::test]
    async fn incomplete_secrets_say_what_is_missing() {
        let site = site(key());
        for (data, part) in [
            (CredentialData { username: None, ..data(PASSWORD) }, "username and password"),
            (data("\n"), "username and password"),
            (
                CredentialData { client_key: None, ..data(PASSWORD) },
                "clientKey, or clientId and clientSecret",
            ),
            (
                CredentialData { client_key: secret("a b"), ..data(PASSWORD) },
                "the clientKey contains a space",
            ),
            (CredentialData { client_key: None, client_id: secret("a:b"), ..data(PASSWORD) }, "colon"),
        ] {
            let error = log_in(&site, data).await.expect_err("something is missing");
            assert!(matches!(&error, ConnectError::Invalid(why) if why.contains(part)), "{part}: {error}");
        }
        assert_eq!(site.logins().attempts, 0);
    }

    #[test]
    fn lives_of_tokens_are_read() {
        for (answer, expected) in [
            (r#"{"access_token": "a"}"#, 3_600_000),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 1800}"#, 1_800_000),
            (r#"{"access_token": "a", "token_type": null, "expires_in": "1800"}"#, 1_800_000),
            (r#"{"access_token": "a", "expires_in": 1}"#, 60_000),
            (r#"{"access_token": "a", "expires_in": -5}"#, 60_000),
            (r#"{"access_token": "a", "expires_in": 1e300}"#, u64::MAX),
            (r#"{"access_token": "a", "expires_in": "NaN"}"#, 60_000),
            (r#"{"access_token": "a", "expires_in": "soon"}"#, 3_600_000),
        ] {
            let good_for = grant(answer.as_bytes()).ok().map(|granted| granted.good_for);
            assert_eq!(good_for, Some(Millis(expected)), "{answer}");
        }
    }
}
