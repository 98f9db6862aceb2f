//! Tests of the whole machine: one world, and what drives it.

pub mod fixtures;
mod model;
#[path = "random_gateways_tests.rs"]
mod random_gateways;
mod scenarios;
mod simulation;
pub mod world;
