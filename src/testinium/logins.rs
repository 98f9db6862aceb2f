//! One login for all gateways that name the same Secret and the same token endpoint.
//!
//! An account may be locked after a few wrong passwords, however many gateways have tried it. So a token is shared, and
//! a refusal is remembered for all of them. What is another login is told by the Secret's version: one that was changed
//! is tried at once.
//!
//! Tokens are held by the connections that use them; with the last of these a token is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use url::Url;

use super::credential_data::LoginSecret;
use super::error::ConnectError;
use super::login::{Granted, REFUSED, no_answer_in_time};
use super::tls::TlsSetup;
use crate::api::{PasswordGrant, condition, reason};
use crate::machine::{GatewayView, REFUSED_LOGIN_PAUSE};

/// What makes two logins the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LoginKey {
    token_url: String,
    secret: String,
    scope: Option<String>,
}

/// A login that is wanted.
pub(super) struct Wanted<'a> {
    pub key: LoginKey,
    /// The token that the gateway has had so far: it wants another one.
    pub earlier: Option<&'a Arc<Granted>>,
    /// A failure is another gateway's as well only if it trusts the same servers.
    pub tls: &'a Arc<TlsSetup>,
    /// The longest time to wait for a login that was begun for another gateway.
    pub timeout: Duration,
}

type Ended = Result<Arc<Granted>, ConnectError>;
type Running = Shared<BoxFuture<'static, Ended>>;

/// All logins of the process.
#[derive(Default)]
pub(super) struct Logins {
    by_key: Mutex<BTreeMap<LoginKey, Entry>>,
}

#[derive(Default)]
struct Entry {
    granted: Weak<Granted>,
    refused: Option<Refusal>,
    running: Option<(WeakShared<BoxFuture<'static, Ended>>, Arc<TlsSetup>)>,
}

struct Refusal {
    until: Instant,
    why: String,
}

// === impl LoginKey ===

impl LoginKey {
    pub fn new(token_url: &Url, secret: &LoginSecret, grant: &PasswordGrant) -> Self {
        Self { token_url: token_url.to_string(), secret: secret.version.clone(), scope: grant.scope.clone() }
    }
}

// === impl Logins ===

impl Logins {
    /// The token of a login: a shared one, or that of `login`, which is made at most once at a time.
    pub async fn token(
        &self,
        wanted: Wanted<'_>,
        login: impl Future<Output = Result<Granted, ConnectError>> + Send + 'static,
    ) -> Ended {
        let Wanted { key, earlier, tls, timeout: limit } = wanted;
        let mut login = Some(async { login.await.map(Arc::new) }.boxed());
        loop {
            let (running, of) = {
                let mut by_key = self.lock();
                by_key.retain(|_, entry| !entry.is_over());
                let entry = by_key.entry(key.clone()).or_default();
                if let Some(Refusal { why, .. }) = entry.standing_refusal() {
                    return Err(ConnectError::Refused(why.clone()));
                }
                let is_new = |granted: &Arc<Granted>| earlier.is_none_or(|had| !Arc::ptr_eq(had, granted));
                if let Some(granted) =
                    entry.granted.upgrade().filter(is_new).filter(|shared| shared.is_fresh())
                {
                    return Ok(granted);
                }
                match (entry.running(), login.take()) {
                    (None, Some(login)) => (entry.begin(login, tls), None),
                    // It has been made in vain by now.
                    (None, None) => return Err(no_answer_in_time()),
                    (Some((running, of)), unused) => {
                        login = unused;
                        (running, Some(of))
                    }
                }
            };
            let ended = match of {
                None => running.clone().await,
                Some(_) => match timeout(limit, running.clone()).await {
                    Ok(ended) => ended,
                    Err(_) => return Err(no_answer_in_time()),
                },
            };
            self.lock().entry(key.clone()).or_default().end(&running, &ended);
            match (&ended, of) {
                // Another gateway's certificates say nothing of this one's.
                (Err(ConnectError::Failed { .. } | ConnectError::Invalid(_)), Some(of)) if of != *tls => {}
                _ => return ended,
            }
        }
    }

    /// A gateway's status may tell of a refusal from before the process began: it counts for what is left of its pause,
    /// unless the Secret was written since.
    pub fn recall(&self, key: &LoginKey, view: &GatewayView, secret: &LoginSecret, now: Timestamp) {
        let Some((age, why)) = told_refusal(view, secret, now) else { return };
        let mut by_key = self.lock();
        if !by_key.contains_key(key) {
            let refused = Some(Refusal { until: Instant::now() + pause().saturating_sub(age), why });
            by_key.insert(key.clone(), Entry { refused, ..Entry::default() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LoginKey, Entry>> {
        // No holder can leave an entry half changed.
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long ago a login was refused, as the gateway's status has it, and in which words.
fn told_refusal(view: &GatewayView, secret: &LoginSecret, now: Timestamp) -> Option<(Duration, String)> {
    let ready = view.status.conditions.iter().find(|other| other.type_ == condition::READY)?;
    let is_of_this = ready.observed_generation == Some(view.generation);
    if !is_of_this || ready.reason != reason::AUTHENTICATION_FAILED {
        return None;
    }
    let why = &ready.message[ready.message.find(REFUSED)?..];
    let since = ready.last_transition_time.0;
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let is_same = secret.written.is_some_and(|written| written <= since);
    (is_same && age < pause()).then(|| (age, why.to_owned()))
}

fn pause() -> Duration {
    Duration::from_millis(REFUSED_LOGIN_PAUSE.0)
}

// === impl Entry ===

impl Entry {
    fn standing_refusal(&self) -> Option<&Refusal> {
        self.refused.as_ref().filter(|refused| Instant::now() < refused.until)
    }

    fn running(&self) -> Option<(Running, Arc<TlsSetup>)> {
        let (running, tls) = self.running.as_ref()?;
        // Who has begun it may be gone, and everybody else: then it never goes on.
        Some((running.upgrade()?, tls.clone()))
    }

    fn begin(&mut self, login: BoxFuture<'static, Ended>, tls: &Arc<TlsSetup>) -> Running {
        let running = login.shared();
        self.running = running.downgrade().map(|weak| (weak, tls.clone()));
        running
    }

    /// A login has ended. The first that hears of it takes it down.
    fn end(&mut self, ended: &Running, with: &Ended) {
        if !self.running().is_some_and(|(running, _)| running.ptr_eq(ended)) {
            return;
        }
        self.running = None;
        match with {
            Ok(granted) => *self = Self { granted: Arc::downgrade(granted), ..Self::default() },
            Err(ConnectError::Refused(why)) => {
                self.refused = Some(Refusal { until: Instant::now() + pause(), why: why.clone() });
            }
            Err(ConnectError::Failed { .. } | ConnectError::Invalid(_)) => {}
        }
    }

    /// Nothing of it matters any more.
    fn is_over(&self) -> bool {
        self.standing_refusal().is_none() && self.granted.strong_count() == 0 && self.running().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use secrecy::SecretString;

    use super::super::fixtures::login_view;
    use super::super::tls::Trust;
    use super::*;
    use crate::api::{Condition, ConditionStatus};
    use crate::machine::Millis;

    const HOUR: Millis = Millis(3_600_000);

    fn tls(trust: Trust) -> Arc<TlsSetup> {
        Arc::new(TlsSetup { trust, identity: None })
    }

    fn secret(version: &str) -> LoginSecret {
        LoginSecret { version: version.to_owned(), written: "2026-11-24T08:00:00Z".parse().ok() }
    }

    fn view() -> GatewayView {
        login_view("http://gateway.example.com", "http://api.example.com/oauth/token")
    }

    fn key(version: &str) -> LoginKey {
        let view = view();
        let grant = view.spec.auth.password.as_ref().expect("it is a login's");
        LoginKey::new(&grant.token_url.parse().expect("a URL"), &secret(version), grant)
    }

    /// A token endpoint that counts, and takes a second.
    #[derive(Default)]
    struct Endpoint {
        logins: Logins,
        asked: Arc<AtomicUsize>,
    }

    impl Endpoint {
        async fn token(
            &self,
            version: &str,
            earlier: Option<&Arc<Granted>>,
            trust: Trust,
            answer: Result<(), ConnectError>,
        ) -> Ended {
            let asked = self.asked.clone();
            let login = async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                answer.map(|()| Granted::new(SecretString::from("token"), HOUR))
            };
            let tls = tls(trust);
            let wanted = Wanted { key: key(version), earlier, tls: &tls, timeout: Duration::from_secs(10) };
            self.logins.token(wanted, login).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn refusal() -> Result<(), ConnectError> {
        Err(ConnectError::Refused(format!("{REFUSED}: 403 Forbidden")))
    }

    fn failure() -> Result<(), ConnectError> {
        Err(ConnectError::Failed { why: "it broke".to_owned(), retry_after: None })
    }

    #[tokio::test(start_paused = true)]
    async fn gateways_with_one_secret_log_in_once() {
        let endpoint = Endpoint::default();
        let all = (0..10).map(|_| endpoint.token("1", None, Trust::Nobody, Ok(())));
        let tokens = futures::future::join_all(all).await;
        let first = tokens[0].as_ref().expect("it is right");
        assert!(tokens.iter().flatten().filter(|token| Arc::ptr_eq(token, first)).count() == 10);
        let later = endpoint.token("1", None, Trust::System, Ok(())).await.expect("it is shared");
        assert!(Arc::ptr_eq(&later, first));
        assert_eq!(endpoint.asked(), 1);
        assert!(
            endpoint.token("2", None, Trust::Nobody, Ok(())).await.is_ok(),
            "another Secret is another login"
        );
        assert_eq!(endpoint.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_no_good_is_replaced_once() {
        let endpoint = Endpoint::default();
        let old = endpoint.token("1", None, Trust::Nobody, Ok(())).await.expect("it is right");
        let all = (0..10).map(|_| endpoint.token("1", Some(&old), Trust::Nobody, Ok(())));
        let new = futures::future::join_all(all).await;
        assert!(new.iter().flatten().filter(|new| !Arc::ptr_eq(&old, new)).count() == 10);
        assert_eq!(endpoint.asked(), 2);
        // Short before its end nobody begins with it.
        tokio::time::advance(Duration::from_secs(3000)).await;
        let next = endpoint.token("1", None, Trust::Nobody, Ok(())).await.expect("it is right");
        assert_eq!(endpoint.asked(), 3);
        // With its last holder it is gone.
        drop(next);
        assert!(endpoint.token("1", None, Trust::Nobody, Ok(())).await.is_ok());
        assert_eq!(endpoint.asked(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_all_gateways_with_the_secret() {
        let endpoint = Endpoint::default();
        let all = (0..10).map(|_| endpoint.token("1", None, Trust::Nobody, refusal()));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_err));
        assert_eq!(endpoint.asked(), 1);
        tokio::time::advance(pause() - Duration::from_secs(1)).await;
        for trust in [Trust::Nobody, Trust::System] {
            let refused = endpoint.token("1", None, trust, Ok(())).await.err();
            assert!(matches!(refused, Some(ConnectError::Refused(why)) if why.contains("403")));
        }
        assert_eq!(endpoint.asked(), 1);
        assert!(endpoint.token("2", None, Trust::Nobody, Ok(())).await.is_ok(), "the Secret has changed");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(endpoint.token("1", None, Trust::Nobody, Ok(())).await.is_ok(), "the pause is over");
        assert_eq!(endpoint.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_who_trusts_the_same_and_tried_again() {
        let endpoint = Endpoint::default();
        let failing = endpoint.token("1", None, Trust::Nobody, failure());
        let same = endpoint.token("1", None, Trust::Nobody, Ok(()));
        let other = endpoint.token("1", None, Trust::System, Ok(()));
        let (failing, same, other) = tokio::join!(failing, same, other);
        assert!(failing.is_err() && same.is_err() && other.is_ok());
        assert_eq!(endpoint.asked(), 2);
        assert!(endpoint.token("1", None, Trust::Nobody, failure()).await.is_ok(), "it is there by now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_was_left_behind_holds_up_nobody() {
        let endpoint = Endpoint::default();
        let left = timeout(Duration::from_millis(1), endpoint.token("1", None, Trust::Nobody, Ok(()))).await;
        assert!(left.is_err(), "the term ended, for instance");
        assert!(endpoint.token("1", None, Trust::Nobody, Ok(())).await.is_ok());
        assert_eq!(endpoint.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_a_status_tells_is_recalled_for_the_rest_of_its_pause() {
        let at = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let told = |reason: &str, generation: i64| {
            let mut view = view();
            view.status.conditions = vec![Condition {
                type_: condition::READY.to_owned(),
                status: ConditionStatus::False,
                reason: reason.to_owned(),
                message: format!("gateway \"default\": {REFUSED}: 403 Forbidden"),
                last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(
                    "2026-11-24T08:00:10Z",
                )),
                observed_generation: Some(generation),
            }];
            view
        };
        let refused = told(reason::AUTHENTICATION_FAILED, 1);
        let changed = LoginSecret { written: Some(at("2026-11-24T08:00:11Z")), ..secret("1") };
        for (name, view, secret, now, recalled) in [
            ("at once", &refused, secret("1"), "2026-11-24T08:00:11Z", true),
            ("late", &refused, secret("1"), "2026-11-24T08:05:09Z", true),
            ("too late", &refused, secret("1"), "2026-11-24T08:05:10Z", false),
            ("the Secret was written since", &refused, changed, "2026-11-24T08:00:20Z", false),
            (
                "of another spec",
                &told(reason::AUTHENTICATION_FAILED, 0),
                secret("1"),
                "2026-11-24T08:00:11Z",
                false,
            ),
            ("other trouble", &told("Unreachable", 1), secret("1"), "2026-11-24T08:00:11Z", false),
        ] {
            let endpoint = Endpoint::default();
            endpoint.logins.recall(&key("1"), view, &secret, at(now));
            let asked = endpoint.token("1", None, Trust::Nobody, Ok(())).await;
            assert_eq!(asked.is_err(), recalled, "{name}");
        }
        let endpoint = Endpoint::default();
        endpoint.logins.recall(&key("1"), &refused, &secret("1"), at("2026-11-24T08:05:00Z"));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(endpoint.token("1", None, Trust::Nobody, Ok(())).await.is_ok(), "the rest is over");
    }
}
