//! A local Kubernetes control plane and a simulated Testinium gateway.

pub mod arena;
pub mod chance;
pub mod client;
pub mod control_plane;
pub mod encodings;
mod error;
pub mod faults;
mod go_build;
pub mod helm;
pub mod image;
pub mod kubectl;
pub mod launcher;
pub mod name_server;
pub mod operator;
pub mod oracles;
pub mod pages;
pub mod pki;
pub mod process;
mod record;
pub mod release;
mod serve;
pub mod simulator;
pub mod terminal;
pub mod tools;

pub use error::{Error, chain};

/// The version of Kubernetes that the control planes of this process have; their programs are built if need be.
///
/// Tests ask it for what only newer versions have, such as MutatingAdmissionPolicy:
/// `if kubernetes_version()? < Version::V1_36`.
pub fn kubernetes_version() -> Result<control_plane::Version, Error> {
    Ok(control_plane::Binaries::obtain()?.version())
}
