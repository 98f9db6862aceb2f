//! The machine: all that decides, and nothing else.

mod answer;
pub mod credential;
pub mod gate;
pub mod gateway;
pub mod gateways;
mod input;
pub mod machine;
pub mod queue;
pub mod record;
pub mod retry;
pub mod run;
mod types;
pub mod verdict;
mod view;
pub mod wish;
mod writes;

pub use answer::{Answer, Body, Complaint, Envelope, Loss, Reply};
pub use input::{CredentialRead, Effect, Event, Input, Kind, ReadResult, Target, WriteResult};
pub use machine::Machine;
pub use types::*;
pub use view::{FieldSet, GatewayView, RunView};
