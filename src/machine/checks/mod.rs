//! Tests of the whole machine: one world, and the tests that drive it.

pub mod fixtures;
mod messages;
mod model;
mod random_gateways;
mod scenarios;
mod simulation;
pub mod world;
