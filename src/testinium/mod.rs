//! Talking to Testinium.
//!
//! `content of the Secrets -> connect -> Connection`, then `Connection + plans -> post_stop -> Answer`
//!
//! Each part of this module is about one request and its reply, sorted into the machine's words. There is no retry, no
//! queue and no opinion on what an answer means: those are the machine's. Only this side can see, and so guards, four
//! things: a secret leaves in no text, log or error; a reply is read up to a bound in size and time; a redirect is not
//! followed; and no address is called that belongs to the cluster's inside.

mod address;
mod clients;
mod connection;
mod credential_data;
pub mod envelope;
mod error;
mod families;
#[cfg(test)]
pub(crate) mod fixtures;
mod http;
mod json;
mod limits;
mod login;
mod logins;
mod lookup;
mod network;
mod reach;
mod redact;
mod refusal;
mod spec;
mod stop;
mod tls;

pub use connection::{Connection, connect};
pub use credential_data::{CredentialData, LoginSecret};
pub use error::ConnectError;
pub use limits::{CA_BYTES_MAX, CERTIFICATE_BYTES_MAX, CREDENTIAL_BYTES_MAX, KEY_BYTES_MAX};
pub use network::{Network, install_crypto};
pub use reach::try_connection;
pub use redact::Secrets;
pub use stop::post_stop;
