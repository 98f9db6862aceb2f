//! The machine: all that decides, and nothing else.

mod answer;
mod input;
mod types;
mod view;

pub use answer::{Answer, Body, Complaint, Envelope, Loss, Reply};
pub use input::{CredentialRead, Effect, Event, Input, Kind, ReadResult, Target, WriteResult};
pub use types::*;
pub use view::{FieldSet, GatewayView, RunView};
