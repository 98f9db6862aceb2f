//! Child processes that cannot outlive this one, nor leave files behind.
//!
//! Tests panic, are interrupted, or are killed outright; statics are never dropped. A child that lived on
//! would hold its port and memory until somebody noticed. So two small helpers are started with the first
//! child:
//!
//! ```text
//! this process --pipe--> keeper   a shell, in a process group of its own, waits for the end of the pipe
//!              --pipe--> anchor   leads the process group that every guarded child joins
//! ```
//!
//! However this process ends, the kernel closes the pipe; the keeper then kills the whole group and removes
//! the directories it was told of. A child that is just being spawned at that moment is covered too: either
//! it has joined the group, or the group is gone and joining fails.
//!
//! The alternative is `PR_SET_PDEATHSIG`. It knows Linux alone, needs `unsafe` or a helper program to be set
//! in the child, fires when the spawning *thread* ends, misses grandchildren, and would still leave the
//! directories to somebody else.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use crate::Error;

/// A child process that dies with its owner: on drop, on panic, and when this process is interrupted or killed.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    name: String,
    log: PathBuf,
    /// The status, once the child has been waited for. Its process id may belong to somebody else from then on.
    exited: Option<ExitStatus>,
}

// === impl Guarded ===

impl Guarded {
    /// Starts `command` with no standard input and with its output appended to the file `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Guarded, Error> {
        let program = PathBuf::from(command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("failed to open the log file {}", log.display())))?;
        let errors = output.try_clone().map_err(Error::io("failed to share a log file"))?;
        guard(&mut command)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Error::io(format!("failed to start {}", program.display())))?;
        Ok(Guarded { child, name, log: log.to_owned(), exited: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file name of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a signal; does nothing if the child is known to have ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        if self.exited.is_some() {
            return Ok(());
        }
        // The child is not waited for yet, so the id is still its own, if only a zombie's.
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| Error::io(format!("failed to signal {}", self.name))(errno.into()))
    }

    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.exited.is_none() {
            self.exited =
                self.child.try_wait().map_err(Error::io(format!("failed to wait for {}", self.name)))?;
        }
        Ok(self.exited)
    }

    /// Waits for the child to end by itself; `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks the child to end with SIGTERM, and kills it if it has not done so within `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        match self.wait(limit)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Ends the child at once with SIGKILL.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.signal(Signal::KILL)?;
        let status = self.child.wait().map_err(Error::io(format!("failed to wait for {}", self.name)))?;
        self.exited = Some(status);
        Ok(status)
    }

    /// The last lines that the child has written, for a message about its failure.
    pub fn log_tail(&self) -> String {
        tail(&self.log, TAIL_LINES)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A failure here can't be reported; the keeper tries again when this process ends.
        let _ = self.stop(GRACE);
    }
}

/// Makes `command` a member of the process group that dies with this process.
///
/// [`Guarded::spawn`] does this by itself; this is for commands that are waited for in place.
pub fn guard(command: &mut Command) -> Result<(), Error> {
    command.process_group(keeper()?.group);
    Ok(())
}

/// Makes a temporary directory that is removed with its handle or, failing that, when this process has ended.
pub fn temporary_directory(prefix: &str) -> Result<TempDir, Error> {
    let keeper = keeper()?;
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(Error::io("failed to create a temporary directory"))?;
    keeper.remove_at_end(directory.path())?;
    Ok(directory)
}

/// A port that was free a moment ago. Somebody may take it before the child does.
pub fn free_port() -> Result<u16, Error> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(port.map_err(Error::io("failed to find a free port on 127.0.0.1"))?.port())
}

/// The last `lines` lines of a file, empty if it can't be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let Ok(mut file) = File::open(path) else { return String::new() };
    let length = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)));
    if read.and_then(|_| file.read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The helpers that make the children end with this process: see the module's text.
#[derive(Debug)]
struct Keeper {
    group: i32,
    /// The anchor holds the end of a pipe: when this process dies, it reads the end of its input.
    _anchor: Child,
    input: Mutex<ChildStdin>,
}

// === impl Keeper ===

impl Keeper {
    fn start() -> std::io::Result<Keeper> {
        // Neither may hold this process's output open: whoever reads it waits for its end.
        // A process group of their own keeps a terminal's Ctrl-C away from them.
        let anchor = Command::new("cat")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let group = Pid::from_child(&anchor).as_raw_nonzero().get();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", &group.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = keeper.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(Keeper { group, _anchor: anchor, input: Mutex::new(input) })
    }

    fn remove_at_end(&self, directory: &Path) -> Result<(), Error> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(input, "{}", directory.display())
            .map_err(Error::io("failed to hand a directory to the keeper of child processes"))
    }
}

fn keeper() -> Result<&'static Keeper, Error> {
    static KEEPER: OnceLock<std::io::Result<Keeper>> = OnceLock::new();
    KEEPER.get_or_init(Keeper::start).as_ref().map_err(|error| {
        let copy = std::io::Error::new(error.kind(), error.to_string());
        Error::io("failed to start `sh` and `cat`, which end the child processes with this one")(copy)
    })
}

/// Collects the directories, one a line, until its input ends; then kills the group and removes them.
/// A process that is being killed may still finish one system call, hence the second try.
const KEEPER: &str = r#"
trap '' INT TERM HUP
group=$1
shift
while IFS= read -r directory; do
    set -- "$@" "$directory"
done
kill -s KILL -- "-$group"
rm -rf -- "$@" || { sleep 1; rm -rf -- "$@"; }
"#;

/// How often a child's end is looked for: short against anything a test waits for.
const POLL: Duration = Duration::from_millis(10);

/// How long a dropped child may take to end in good order: an operator's shutdown, not a server's drain.
const GRACE: Duration = Duration::from_secs(2);

const TAIL_LINES: usize = 15;

/// The part of a log that is read for its last lines, which may be long.
const TAIL_BYTES: u64 = 16 * 1024;
