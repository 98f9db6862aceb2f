//! The processes that are measured: the operator, and the floors.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testinium_testbed::launcher::Launcher;
use testinium_testbed::process::{Guarded, free_port, guard};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::floor::{DONE, READY};
use crate::process::Usage;

/// The longest that anything here may take; only a fault reaches it.
pub const LIMIT: Duration = Duration::from_secs(900);

/// How often readiness is asked for: short against a start, and cheap against a list.
const PROBE: Duration = Duration::from_millis(2);

/// The operator, at work.
pub struct Operator {
    process: Guarded,
    health: SocketAddr,
    started: Instant,
}

/// A floor, at work.
pub struct Floor {
    process: Child,
    pid: u32,
    lines: Lines<BufReader<ChildStdout>>,
    started: Instant,
}

// === impl Operator ===

impl Operator {
    /// Starts one as it ships but for the election: there is one replica.
    pub fn start(launcher: Launcher, binary: &Path, log: &Path) -> Result<Self, Failure> {
        let health: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let launcher = launcher.flags(&[
            "--leader-elect=false",
            "--metrics-bind-address=127.0.0.1:0",
            &format!("--health-probe-bind-address={health}"),
        ]);
        let started = Instant::now();
        Ok(Self { process: launcher.spawn(binary, log)?, health, started })
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits until it is ready, and tells how long that took since the start.
    pub async fn ready(&self) -> Result<Duration, Failure> {
        let asked = async {
            while !self.says_ready().await.unwrap_or(false) {
                tokio::time::sleep(PROBE).await;
            }
            self.started.elapsed()
        };
        timeout(LIMIT, asked).await.map_err(|_| "the operator does not become ready".into())
    }

    pub fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.process.pid())
    }

    async fn says_ready(&self) -> Result<bool, Failure> {
        let mut stream = TcpStream::connect(self.health).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    }
}

// === impl Floor ===

impl Floor {
    /// Starts this program as a floor with these arguments.
    pub fn start(kubeconfig: &Path, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").args(arguments).env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        guard(&mut command)?;
        let started = Instant::now();
        let mut process = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let (pid, stdout) = (process.id(), process.stdout.take());
        let (Some(pid), Some(stdout)) = (pid, stdout) else { return Err("a floor ended at once".into()) };
        Ok(Self { process, pid, lines: BufReader::new(stdout).lines(), started })
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits until it is ready: its watch is open, or its list complete. Yields its time on a processor so far.
    pub async fn ready(&mut self) -> Result<Duration, Failure> {
        self.line(READY).await
    }

    /// Waits until it is done. Yields its time on a processor so far.
    pub async fn done(&mut self) -> Result<Duration, Failure> {
        self.line(DONE).await
    }

    pub fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.pid)
    }

    pub async fn kill(mut self) -> Result<(), Failure> {
        self.process.kill().await.map_err(Failure::from)
    }

    async fn line(&mut self, wanted: &str) -> Result<Duration, Failure> {
        let line = timeout(LIMIT, self.lines.next_line()).await.map_err(|_| "a floor hangs")??;
        let line = line.ok_or("a floor ended; its error is above")?;
        let microseconds = line.strip_prefix(wanted).and_then(|rest| rest.trim().parse().ok());
        microseconds.map(Duration::from_micros).ok_or_else(|| format!("a floor said {line}").into())
    }
}
