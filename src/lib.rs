//! Stops Testinium test plans from Kubernetes.
//!
//! A library only so that tests and benchmarks can reach the parts; users run the binary.

pub mod api;
pub mod aside;
pub mod cli;
pub mod gateway;
pub mod kubernetes;
pub mod operator;
pub mod stop;
pub mod telemetry;
