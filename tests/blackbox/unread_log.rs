//! Nobody reads the log, though somebody could: its pipe is full.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::process::{self, free_port};

use crate::cluster::{OPERATOR, ok};
use crate::operator::{SOON, Stage};

/// What a pipe of Linux holds.
const PIPE_BYTES: usize = 64 * 1024;

#[test]
fn a_stopped_reader_of_the_log_stops_neither_the_operator_nor_its_end() {
    let stage = Stage::prepare_accepting(serde_json::json!({}));
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'\n'; PIPE_BYTES]).expect("it is as large as that");
    let probes = ok(free_port());
    let flags = ["--leader-elect=false", &format!("--health-probe-bind-address=127.0.0.1:{probes}")];
    let mut command = stage.launcher(&flags).command(Path::new(OPERATOR));
    ok(process::guard(&mut command));
    let mut operator =
        command.stdin(Stdio::null()).stderr(writer).spawn().expect("the binary was built for this test");
    // The command holds an end of the pipe too.
    drop(command);

    for number in 0..20 {
        let name = format!("nightly-{number}");
        stage.settle(&name, 614);
    }
    assert_eq!(ok(page(probes, "/healthz")).0, 200);

    let pid = operator.id().to_string();
    let asked = std::process::Command::new("kill").arg(pid).status().expect("there is a kill");
    assert!(asked.success());
    let begun = Instant::now();
    let status = ok(wait_until("the operator to end", SOON, || match operator.try_wait() {
        Ok(Some(status)) => Ok(status),
        other => Err(format!("{other:?}")),
    }));
    assert!(status.success(), "{status} after {:?}", begun.elapsed());
    // What was in the pipe is there, and nothing of it is half a line.
    let lines = thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).count());
    assert!(lines.join().expect("it is read to its end") >= PIPE_BYTES);
}
