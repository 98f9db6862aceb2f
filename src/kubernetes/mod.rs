//! Talking to Kubernetes: watches, status writes, Secrets, events, the Lease.
//!
//! Each file translates between the machine and one part of the Kubernetes API, and decides nothing. They
//! have three rules in common. Every request has a timeout of our own, since the client has none. Only a watch and the
//! Lease try again by themselves, since the machine owns all other retries. An object that can't be read is a value,
//! never an error.

mod advice;
mod api_server;
mod candidates;
mod client;
mod clock;
pub mod decode;
mod event_queue;
mod events;
mod failure;
mod finalizers;
pub mod keys;
mod lease;
mod metadata;
mod notes;
mod pages;
mod request;
mod resource;
mod rights;
mod scale;
pub mod secrets;
mod values;
mod watch;
mod write;

pub use api_server::ApiServer;
pub use candidates::list_runs;
pub use client::{ClientError, Clients};
pub use clock::now;
pub use events::Events;
pub use failure::Failure;
pub use finalizers::{HeldPage, HeldRun, Removal, list_held, remove_finalizer};
pub use lease::{Elector, Fence, lease_holder};
pub use pages::Listed;
pub use rights::tell_rights;
pub use scale::{helm_release, scale_to_zero};
pub use watch::{Scope, watch};
pub use write::{read_run, write};
