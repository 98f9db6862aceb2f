//! Runs: what is wanted of each, how far its plans are, and what its status says.

mod advice;
pub mod events;
pub mod intent;
pub mod memo;
pub mod plan;
pub mod request;
pub mod run;
mod run_plans;
pub mod status;
