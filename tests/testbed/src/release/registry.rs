//! A registry on this machine, for a rehearsal. It forgets everything at its end.

use std::net::TcpStream;
use std::time::Duration;

use tempfile::TempDir;

use crate::kubectl::wait_until;
use crate::process::{self, Guarded};
use crate::tools::Tool;
use crate::{Error, process::temporary_directory};

/// A registry that serves until it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    _process: Guarded,
    _directory: TempDir,
}

/// Far above what it takes on a busy machine.
const READY: Duration = Duration::from_secs(30);

// === impl Registry ===

impl Registry {
    pub fn start() -> Result<Self, Error> {
        let directory = temporary_directory("testinium-registry-")?;
        let address = format!("127.0.0.1:{}", process::free_port()?);
        let command = Tool::Crane.command(&["registry", "serve", "--address", &address])?;
        let process = Guarded::spawn(command, &directory.path().join("log"))?;
        wait_until("the registry to listen", READY, || TcpStream::connect(&address))?;
        Ok(Self { address, _process: process, _directory: directory })
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }
}
