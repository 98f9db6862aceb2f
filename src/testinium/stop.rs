//! One stop: the request on a prepared connection, and its reply as the machine's answer.

use reqwest::RequestBuilder;
use reqwest::header::CONNECTION;
use secrecy::ExposeSecret;
use tracing::{info, warn};

use super::connection::Connection;
use super::envelope;
use super::http::{Received, send};
use super::redact::Secrets;
use crate::aside;
use crate::machine::{Answer, Body, PlanId, Reply};
use crate::seldom::Seldom;

/// The gateways of which the log says that a call got no answer.
static UNANSWERED: Seldom = Seldom::new();

/// Sends `POST <url>/stop/execution` with these plans.
///
/// `last_on_connection`: the next call shall go over a new connection. A connection may lead to one bad server among
/// several good ones for as long as it is open. HTTP/2 has no such header, and keeps its connection.
pub async fn post_stop(connection: &Connection, plans: &[PlanId], last_on_connection: bool) -> Answer {
    let request = stop_request(connection, plans, last_on_connection);
    let gateway = &connection.gateway;
    match send(&connection.guard, &connection.stop_url, request).await {
        Ok(Received { status, retry_after, body }) => {
            let body = match body {
                Some(bytes) => read(connection, bytes, status.is_success()).await,
                None => Body::Other,
            };
            if UNANSWERED.is_over(&gateway.namespace, &gateway.name) {
                info!(%gateway, "calls are answered again");
            }
            Answer::Reply(Reply { status: status.as_u16(), retry_after, body })
        }
        Err((no_answer, error)) => {
            let error = Secrets::new([connection.token.expose_secret()]).clean_error(&error);
            if let Some(left_out) = UNANSWERED.is_due(&gateway.namespace, &gateway.name, &error) {
                warn!(%gateway, ?no_answer, error, left_out, "a call got no answer");
            }
            Answer::Lost(no_answer)
        }
    }
}

/// The content of a body, without the token. A body that can't be read has none.
async fn read(connection: &Connection, bytes: Vec<u8>, success: bool) -> Body {
    let token = connection.token.clone();
    // The worst text costs several times what a Secret of its length does: it is searched in a dozen readings.
    let size = bytes.len() * 4 + token.expose_secret().len();
    let read = move || envelope::body(&bytes, success, &Secrets::new([token.expose_secret()]));
    aside::work(size, read).await.unwrap_or(Body::Other)
}

fn stop_request(connection: &Connection, plans: &[PlanId], last_on_connection: bool) -> RequestBuilder {
    let request = connection
        .http
        .client
        .post(connection.stop_url.clone())
        .timeout(connection.timeout)
        .headers(connection.headers.clone())
        .body(envelope::request(plans));
    if last_on_connection { request.header(CONNECTION, "close") } else { request }
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
