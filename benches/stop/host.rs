//! The machine that it was measured on, and the versions of what was measured.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;
use testinium_testbed::control_plane::Binaries;

use crate::api;
use crate::failure::Failure;
use crate::stage::Stage;
use crate::units::mebibytes;

/// The machine, and the versions.
#[derive(Debug, Serialize)]
pub struct Host {
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// Processes that wanted a processor in the minute before the start: what else was going on.
    pub load_before: f64,
    pub kube_apiserver: String,
    pub etcd: String,
    pub rustc: String,
    pub operator: String,
    pub operator_mib: f64,
}

// === impl Host ===

impl Host {
    pub async fn describe(stage: &Stage, load_before: f64) -> Result<Self, Failure> {
        let version: serde_json::Value = serde_json::from_slice(&api::get(&stage.client, "/version").await?)?;
        let memory = field("/proc/meminfo", "MemTotal:");
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_before,
            kube_apiserver: version["gitVersion"].as_str().unwrap_or("unknown").to_owned(),
            etcd: first_line(&Binaries::obtain()?.etcd()).replace(" Version:", ""),
            rustc: first_line(Path::new("rustc")),
            operator: first_line(&stage.operator),
            operator_mib: mebibytes(fs::metadata(&stage.operator)?.len()),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_mib, kernel, load_before, .. } = self;
        let Self { kube_apiserver, etcd, rustc, operator, operator_mib, .. } = self;
        writeln!(
            f,
            "{processors} x {processor}, {memory_mib} MiB, Linux {kernel}, load {load_before:.1} before."
        )?;
        write!(f, "kube-apiserver {kube_apiserver}, {etcd}, {rustc}. {operator}, {operator_mib:.1} MiB.")
    }
}

/// The number of processes that want a processor, averaged over a minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// The value of a field in a file of /proc, at its first mention.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("unknown".to_owned(), |rest| rest.trim_matches([' ', '\t', ':']).to_owned())
}

fn first_line(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
