//! Tokens: those given out by hand, those issued to who logs in, and the account that locks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::json;

use super::foreign::Foreign;
use super::reply::Reply;

/// The demands of the login, and what it gives.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user who may log in.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// How the calling program proves itself.
    pub client: Client,
    /// `expires_in` of the answer, in seconds.
    pub expires_in: u64,
    /// How long an issued token is really accepted; none: as announced.
    pub lifetime: Option<Duration>,
    /// Wrong passwords in a row after which the account is locked; none: never.
    pub lockout_after: Option<u32>,
}

/// The credential of the calling program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// Version 1.16: Base64 of `id:secret`.
    Basic {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: String,
    },
    /// Version 2.0: one key, used verbatim after `Basic `.
    Key(String),
}

/// How the gateway refuses a token that it does not accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TokenRefusal {
    /// 401 with the documented envelope.
    #[default]
    Unauthorized,
    /// 401 with a line of text, as a proxy that checks tokens.
    PlainUnauthorized,
    /// 403 with the envelope.
    Forbidden,
    /// 400 with the envelope and the code `TOKEN_EXPIRED`.
    Expired,
    /// 302 to a login page.
    LoginRedirect,
    /// 200 with a login page.
    LoginPage,
    /// 500 with the envelope.
    ServerError,
    /// 400 with the envelope and no word of a credential, as of a plan that can't be stopped.
    InvalidRequest,
    /// 200 with another service's JSON.
    OtherService,
}

/// The number of logins so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Well-formed requests from a valid client.
    pub attempts: u32,
    /// Those that got a token.
    pub succeeded: u32,
    /// Those with a wrong user or password.
    pub wrong: u32,
    /// Whether the account is locked.
    pub locked: bool,
}

#[derive(Debug)]
pub(crate) struct Tokens {
    login: Login,
    /// Accepted tokens, and until when; none: until revoked.
    accepted: BTreeMap<String, Option<Instant>>,
    logins: Logins,
    wrong_in_a_row: u32,
    issued: u64,
    refusal: TokenRefusal,
}

// === impl Login ===

impl Default for Login {
    fn default() -> Self {
        Self {
            username: "operator".to_owned(),
            password: "simulated-password".to_owned(),
            client: Client::Basic { id: "client".to_owned(), secret: "simulated-secret".to_owned() },
            expires_in: 3600,
            lifetime: None,
            lockout_after: None,
        }
    }
}

// === impl TokenRefusal ===

impl TokenRefusal {
    /// All variants.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub(crate) fn reply(self, path: &str) -> Reply {
        match self {
            Self::Unauthorized => Reply::refusal(401),
            Self::PlainUnauthorized => Reply::raw(401, "Jwt is expired").header("content-type", "text/plain"),
            Self::Forbidden => Reply::refusal(403),
            Self::Expired => {
                let message = "the token has expired";
                Reply::errors_with(400, &json!([{"code": "TOKEN_EXPIRED", "message": message}]))
            }
            Self::LoginRedirect => Foreign::LoginRedirect.reply(path),
            Self::LoginPage => Foreign::LoginPage.reply(path),
            Self::ServerError => Reply::refusal(500),
            Self::InvalidRequest => Reply::refusal(400),
            Self::OtherService => Foreign::OtherService.reply(path),
        }
    }
}

// === impl Client ===

impl Client {
    /// The `Authorization` header that proves it.
    pub fn header(&self) -> String {
        match self {
            Self::Basic { id, secret } => {
                use base64::Engine as _;
                let pair = format!("{id}:{secret}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Self::Key(key) => format!("Basic {key}"),
        }
    }
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(login: Login, token: String, refusal: TokenRefusal) -> Self {
        let accepted = BTreeMap::from([(token, None)]);
        Self { login, accepted, logins: Logins::default(), wrong_in_a_row: 0, issued: 0, refusal }
    }

    pub(crate) fn set_refusal(&mut self, refusal: TokenRefusal) {
        self.refusal = refusal;
    }

    /// The answer to a request for `path` without a token that is accepted.
    pub(crate) fn refused(&self, path: &str) -> Reply {
        self.refusal.reply(path)
    }

    pub(crate) fn accept(&mut self, token: String) {
        self.accepted.insert(token, None);
    }

    pub(crate) fn revoke(&mut self) {
        self.accepted.clear();
    }

    pub(crate) fn set_password(&mut self, password: String) {
        self.login.password = password;
    }

    pub(crate) fn unlock(&mut self) {
        self.logins.locked = false;
        self.wrong_in_a_row = 0;
    }

    pub(crate) fn logins(&self) -> Logins {
        self.logins
    }

    /// Whether the header carries a token that is accepted now.
    pub(crate) fn authorized(&self, authorization: Option<&str>, now: Instant) -> bool {
        let Some((scheme, token)) = authorization.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer")
            && self.accepted.get(token).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    pub(crate) fn client_authorized(&self, authorization: Option<&str>) -> bool {
        authorization == Some(self.login.client.header().as_str())
    }

    /// Answers a login.
    pub(crate) fn answer(&mut self, headers: &HeaderMap, body: &[u8], now: Instant) -> Reply {
        let text =
            |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let content_type = text(headers.get("content-type")).unwrap_or_default();
        if media_type(&content_type) != "application/x-www-form-urlencoded" {
            return failure(400, "INVALID_REQUEST", "the body must be form-encoded");
        }
        if !self.client_authorized(text(headers.get("authorization")).as_deref()) {
            return failure(401, "INVALID_CLIENT", "the client credentials are missing or not valid");
        }
        let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let (Some("password"), Some(username), Some(password)) =
            (field("grant_type"), field("username"), field("password"))
        else {
            return failure(
                400,
                "INVALID_REQUEST",
                "grant_type=password, username and password are required",
            );
        };
        self.logins.attempts += 1;
        if self.logins.locked {
            return failure(403, "ACCESS_DENIED", "the account is locked");
        }
        if username != self.login.username || password != self.login.password {
            self.logins.wrong += 1;
            self.wrong_in_a_row += 1;
            self.logins.locked = self.login.lockout_after.is_some_and(|most| self.wrong_in_a_row >= most);
            return failure(403, "ACCESS_DENIED", "the user name or password is wrong");
        }
        self.issue(field("scope").unwrap_or("read write"), now)
    }

    fn issue(&mut self, scope: &str, now: Instant) -> Reply {
        self.wrong_in_a_row = 0;
        self.logins.succeeded += 1;
        self.issued += 1;
        let serial = self.issued;
        let token = format!("issued-token-{serial}");
        let lifetime = self.login.lifetime.unwrap_or(Duration::from_secs(self.login.expires_in));
        // A lifetime beyond what the clock can express is for ever.
        self.accepted.insert(token.clone(), now.checked_add(lifetime));
        Reply::json(
            200,
            &json!({
                "access_token": token,
                "token_type": "bearer",
                "refresh_token": format!("refresh-token-{serial}"),
                "expires_in": self.login.expires_in,
                "scope": scope,
                "jti": format!("00000000-0000-4000-8000-{serial:012}"),
            }),
        )
    }
}

/// The media type of a `Content-Type`, without its parameters.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn failure(status: u16, code: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": code, "error_description": description}))
}
