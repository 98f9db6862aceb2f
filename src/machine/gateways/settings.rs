//! The settings of a gateway: its spec as the machine needs it, parsed once when the object is seen.

use std::sync::Arc;

use crate::api::TestiniumGatewaySpec;
use crate::machine::backoff::Backoff;
use crate::machine::time::Millis;

/// The settings of a gateway, each within its bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port of the URL: its limits are shared.
    pub origin: Arc<str>,
    pub is_suspended: bool,
    /// Plans in one call, at most.
    pub max_plans: usize,
    /// The time for which plans are gathered after a call has begun.
    pub window: Millis,
    pub calls_per_second: u64,
    pub max_in_flight: usize,
    pub backoff: Backoff,
    /// The credential is a login with a password, which may be repeated.
    pub is_login: bool,
    /// The Secrets hold certificates as well.
    pub has_certificates: bool,
}

impl Settings {
    pub fn of(spec: &TestiniumGatewaySpec) -> Self {
        let batching = spec.batching.clone().unwrap_or_default();
        let limits = spec.limits.clone().unwrap_or_default();
        let retry = spec.retry.clone().unwrap_or_default();
        let number = |value: Option<i64>, default: i64| value.unwrap_or(default);
        Self {
            origin: origin(&spec.url),
            is_suspended: spec.suspend == Some(true),
            max_plans: usize::try_from(number(batching.max_plans, 100)).unwrap_or(1).clamp(1, 1000),
            window: Millis(u64::try_from(number(batching.window_milliseconds, 50)).unwrap_or(0)),
            calls_per_second: u64::try_from(number(limits.requests_per_second, 10))
                .unwrap_or(1)
                .clamp(1, 1000),
            max_in_flight: usize::try_from(number(limits.max_in_flight, 2)).unwrap_or(1).max(1),
            backoff: Backoff {
                initial: Millis::from_secs(number(retry.initial_delay_seconds, 1)),
                max: Millis::from_secs(number(retry.max_delay_seconds, 300)),
            },
            is_login: spec.auth.password.is_some(),
            has_certificates: spec.tls.is_some(),
        }
    }
}

fn origin(url: &str) -> Arc<str> {
    url::Url::parse(url).map_or_else(|_| url.into(), |url| url.origin().ascii_serialization().into())
}
