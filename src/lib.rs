//! Stops Testinium test plans from Kubernetes.
//!
//! A library only so that tests and benchmarks can reach the parts; users run the binary.

pub mod api;
pub mod aside;
pub mod cli;
pub mod kubernetes;
pub mod machine;
pub mod operator;
pub mod retry_after;
pub mod seldom;
pub mod telemetry;
pub mod testinium;
pub mod text;
pub mod uninstall;
