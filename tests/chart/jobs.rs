//! A stand-in for what makes pods of Jobs, since a control plane alone runs none.
//!
//! ```text
//! Job --> its container as a process of this machine --exit code--> the Job's status
//! ```
//!
//! The process has the container's arguments and variables, and the ServiceAccount of the pod. There is no second try.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::client::{Client, unless_gone};
use testinium_testbed::control_plane::ControlPlane;
use testinium_testbed::process::Guarded;

use crate::render::{ok, text, texts};
use crate::stand_in::StandIn;

/// What becomes of the pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Images {
    /// Their image is there, and they run.
    Fetched,
    /// Their image can't be fetched, until the Job's time is over.
    Missing,
}

/// It works until it is dropped.
pub(crate) struct Jobs {
    log: PathBuf,
    _stand_in: StandIn,
}

/// The Jobs of a namespace.
struct Watched {
    plane: Arc<ControlPlane>,
    client: Client,
    namespace: String,
    images: Images,
    log: PathBuf,
}

/// Above the longest time that a Job of the chart takes in a test.
const LIMIT: Duration = Duration::from_secs(120);

// === impl Jobs ===

impl Jobs {
    /// Runs every Job that is made in this namespace. What they print is appended to `log`.
    pub(crate) fn start(plane: &Arc<ControlPlane>, namespace: &str, images: Images, log: PathBuf) -> Self {
        let watched = Watched {
            client: ok(plane.client()),
            plane: plane.clone(),
            namespace: namespace.to_owned(),
            images,
            log: log.clone(),
        };
        Self { log, _stand_in: StandIn::start("the pods of Jobs", move || watched.turn()) }
    }

    /// All that they have printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

// === impl Watched ===

impl Watched {
    fn turn(&self) {
        let path = format!("/apis/batch/v1/namespaces/{}/jobs", self.namespace);
        for job in ok(self.client.list(&path)) {
            if job["status"]["conditions"].is_null() {
                let status = if self.images == Images::Fetched {
                    self.run(&job["spec"]["template"]["spec"])
                } else {
                    failed("DeadlineExceeded")
                };
                let object = format!("{path}/{}/status", text(&job["metadata"]["name"]));
                ok(unless_gone(self.client.patch(&object, &json!({"status": status}))));
            }
        }
    }

    /// Runs a pod to its end. Yields what its Job says then.
    fn run(&self, pod: &Value) -> Value {
        let container = &pod["containers"][0];
        let kubeconfig =
            ok(self.plane.kubeconfig_for_service_account(&self.namespace, text(&pod["serviceAccountName"])));
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_testinium-operator")));
        command.args(texts(&container["args"])).env("KUBECONFIG", kubeconfig);
        for variable in container["env"].as_array().into_iter().flatten() {
            command.env(text(&variable["name"]), text(&variable["value"]));
        }
        let mut process = ok(Guarded::spawn(command, &self.log));
        match ok(process.wait(LIMIT)) {
            Some(status) if status.success() => complete(),
            Some(_) => failed("BackoffLimitExceeded"),
            None => failed("DeadlineExceeded"),
        }
    }
}

fn complete() -> Value {
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let condition =
        |type_: &str| json!({"type": type_, "status": "True", "reason": "CompletionsReached", "message": ""});
    json!({
        "startTime": now, "completionTime": now, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    })
}

fn failed(reason: &str) -> Value {
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": reason, "message": "a stand-in says so"});
    json!({"startTime": now, "failed": 1, "conditions": [condition("FailureTarget"), condition("Failed")]})
}
