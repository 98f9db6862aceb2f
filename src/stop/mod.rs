//! The machine: all that decides, and nothing else.
//!
//! Inputs in, effects out; see [`Machine`]. Nothing in here reads a clock, draws by chance, or talks to anybody: what
//! it must know comes in as an argument. The lint below and a house rule keep it so.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod advice;
mod announce;
mod answer;
mod base;
#[cfg(debug_assertions)]
mod check;
mod claim;
pub mod credential;
pub mod gate;
pub mod gateway;
pub mod gateways;
pub mod held;
mod input;
pub mod intent;
mod landings;
pub mod machine;
mod plan;
pub mod queue;
pub mod record;
mod request;
pub mod retry;
mod rules;
pub mod run;
pub mod standing;
mod turns;
mod types;
pub mod verdict;
mod view;
pub mod wait_reason;
pub mod words;
mod write;
mod writes;

pub use answer::{Answer, Body, Complaint, Envelope, Gist, Loss, Reply};
pub use input::{CredentialRead, Effect, Event, Input, Kind, Target, WriteResult};
pub use machine::{Machine, Tally};
pub use types::*;
pub use view::{FieldSet, GatewayView, RunView};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;
#[cfg(test)]
#[path = "natures_tests.rs"]
mod natures;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod world;
