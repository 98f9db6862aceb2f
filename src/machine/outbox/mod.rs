//! Writes to the Kubernetes API.

pub mod write;
mod writes;
