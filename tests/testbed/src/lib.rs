//! A local Kubernetes control plane and a simulated Testinium gateway.

pub mod arena;
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
