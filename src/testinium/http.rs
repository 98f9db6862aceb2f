//! One HTTP request: its reply, or the reason for none.
//!
//! It is bounded in time from the first connect to the last byte, and in size while it is read. Redirects are not
//! followed: the token would go wherever they point. Nothing is tried twice but a request that hyper knows to be unsent
//! (on a pooled connection that the server had closed).

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::{Client, RequestBuilder, StatusCode};
use url::Url;

use super::address::{AddressRefused, Guard, NotCalled};
use crate::machine::{Millis, NoAnswer};
use crate::retry_after::retry_after;
use crate::text::chain;

/// The most of a body that is read. The envelope of a call with 1,000 reported errors fits.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest time that connecting may take; a call with a shorter timeout ends before.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A reply whose body was read to its end or to the bound. It may hold a token, so it can't be shown.
pub(super) struct Received {
    pub status: StatusCode,
    pub retry_after: Option<Millis>,
    /// The body, or none if it was longer than the bound.
    pub body: Option<Vec<u8>>,
}

/// The builder of every client, with all that clients have in common.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("testinium-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        // A call that times out leaves its HTTP/2 connection in the pool; without pings the next call would be put
        // onto the same dead one.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(10))
}

/// Sends a request and reads its reply. The text beside a missing answer is for the log: it holds no secret, but
/// addresses.
pub(super) async fn send(
    guard: &Guard,
    url: &Url,
    request: RequestBuilder,
) -> Result<Received, (NoAnswer, String)> {
    guard.check(url).await.map_err(|error| match error {
        NotCalled::Refused(refused) => (NoAnswer::AddressRefused, refused.to_string()),
        NotCalled::Unknown(_) => (NoAnswer::Dns, chain(&error)),
    })?;
    receive(request).await.map_err(|error| (no_answer(&error), chain(&error.without_url())))
}

async fn receive(request: RequestBuilder) -> reqwest::Result<Received> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers());
    let retry_after = retry_after(headers, SystemTime::now());
    let announced = response.content_length().unwrap_or(0);
    let mut body = Vec::new();
    if announced > BODY_BYTES_MAX as u64 {
        return Ok(Received { status, retry_after, body: None });
    }
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Ok(Received { status, retry_after, body: None });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received { status, retry_after, body: Some(body) })
}

/// The reason for which no answer came.
fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let over_tls = error.url().is_some_and(|url| url.scheme() == "https");
    // The most telling cause comes first: a refused address also counts as a failed lookup, which counts as a failed
    // connection.
    if find(error, |_: &AddressRefused| true) {
        NoAnswer::AddressRefused
    } else if find(error, |_: &rustls::Error| true) || (over_tls && refused_after_handshake(error)) {
        NoAnswer::Tls
    } else if error.is_dns() {
        NoAnswer::Dns
    } else if error.is_connect() {
        NoAnswer::Connect
    } else if error.is_timeout() {
        NoAnswer::Timeout
    } else {
        NoAnswer::Broken
    }
}

/// Whether the server went away right after the handshake. In TLS 1.3 that is how it refuses a client's certificate:
/// the client has finished by then. HTTP/2 keeps the text alone of its alert, if the request had begun at all.
fn refused_after_handshake(error: &reqwest::Error) -> bool {
    find(error, hyper::Error::is_canceled) || chain(error).contains("received fatal alert")
}

/// Whether such an error is among the causes. An io::Error hides the one that it was made of from `source`.
pub(super) fn find<E: Error + 'static>(
    error: &(dyn Error + 'static),
    is_it: impl Fn(&E) -> bool + Copy,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.downcast_ref::<E>().is_some_and(is_it) || inner.is_some_and(|inner| find(inner, is_it)) {
            return true;
        }
        next = error.source();
    }
    false
}
