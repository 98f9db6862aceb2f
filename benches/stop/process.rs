//! The costs of a process as the kernel counts them: its time on a processor, and its memory.

use std::fs;
use std::time::Duration;

use crate::failure::Failure;

/// The costs of a process so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// The most that was ever resident, in bytes.
    pub peak: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let status = read(format!("/proc/{pid}/status"))?;
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number =
                line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
            number.ok_or_else(|| Failure::from(format!("/proc/{pid}/status does not tell {field}")))
        };
        Ok(Self { cpu: cpu(pid)?, resident: kib("VmRSS:")? << 10, peak: kib("VmHWM:")? << 10 })
    }
}

/// Time on a processor, to the nanosecond: the ticks of `/proc/PID/stat` are too coarse for a thousand stops. Threads
/// that have ended are missing; neither the operator nor a floor ends any while it works.
pub fn cpu(pid: u32) -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Its first number is the time spent on a processor.
        let text = read(thread?.path().join("schedstat").display().to_string())?;
        let first = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        nanoseconds += first.ok_or("the kernel keeps no schedstat (CONFIG_SCHED_INFO)")?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn read(path: String) -> Result<String, Failure> {
    fs::read_to_string(&path).map_err(|error| format!("failed to read {path}: {error}").into())
}
