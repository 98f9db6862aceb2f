//! Talking to Testinium.
//!
//! `Secrets' content -> connect -> Connection`, then `Connection + plans -> post_stop -> Answer`
//!
//! Everything here is one request and its reply, sorted into the machine's words. There is no retry, no queue and no
//! opinion on what an answer means: those are the machine's. What is guarded here is what only this side can see: a
//! secret leaves in no text, log or error; a reply is read up to a bound in size and time; a redirect is not
//! followed; and no address is called that belongs to the cluster's inside.

pub mod address;
mod client;
mod credential;
#[cfg(test)]
pub(crate) mod fixtures;
mod json;
mod limits;
mod redact;
mod refusal;
mod text;
mod token;
pub mod wire;

pub use client::post_stop;
pub use credential::{ConnectError, Connection, Material, Network, connect, install_crypto};
pub use limits::{CA_BYTES_MAX, CERTIFICATE_BYTES_MAX, CREDENTIAL_BYTES_MAX, KEY_BYTES_MAX};
pub use redact::Secrets;
