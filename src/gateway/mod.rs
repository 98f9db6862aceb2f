//! Talking to Testinium.
//!
//! `Secrets' content -> connect -> Connection`, then `Connection + plans -> post_stop -> Answer`
//!
//! Everything here is one request and its reply, sorted into the machine's words. There is no retry, no queue and no
//! opinion on what an answer means: those are the machine's. What is guarded here is what only this side can see: a
//! secret leaves in no text, log or error; a reply is read up to a bound in size and time; a redirect is not
//! followed; and no address is called that belongs to the cluster's inside.

mod json;
mod text;
pub mod wire;

pub use text::Secrets;
