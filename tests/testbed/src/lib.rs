//! A local Kubernetes control plane and a simulated Testinium gateway.

pub mod pki;
mod serve;
pub mod simulator;
