//! A stand-in for what makes pods of a Deployment, since a control plane alone runs none.
//!
//! ```text
//! Deployment --> a Pod, and its container as a process of this machine --/readyz--> the Deployment's status
//! ```
//!
//! The process has the container's arguments and variables, and the ServiceAccount of the pod. A changed template is a
//! new process, once the old one has been told to end and has ended; only then its Pod is gone. So it is if the
//! Deployment is gone, or has no replicas any more. However many it has, there is one process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::Error;
use testinium_testbed::client::{Client, unless_gone};
use testinium_testbed::control_plane::ControlPlane;
use testinium_testbed::launcher::Launcher;
use testinium_testbed::operator::page;
use testinium_testbed::process::{Guarded, free_port};

use crate::render::{ok, text, texts};
use crate::stand_in::StandIn;

/// It works until it is dropped.
pub(crate) struct Kubelet {
    _stand_in: StandIn,
}

/// One Deployment of a namespace.
struct Watched {
    plane: Arc<ControlPlane>,
    client: Client,
    namespace: String,
    path: String,
    log: PathBuf,
}

/// The process of a Deployment's template.
struct Pod {
    path: String,
    template: Value,
    process: Guarded,
    probes: u16,
}

/// As the manifests have it: terminationGracePeriodSeconds.
const GRACE: Duration = Duration::from_secs(45);

// === impl Kubelet ===

impl Kubelet {
    /// Runs the Deployment of this name whenever there is one. The output of its processes is appended to `log`.
    pub(crate) fn start(plane: &Arc<ControlPlane>, namespace: &str, name: &str, log: &Path) -> Self {
        let watched = Watched {
            client: ok(plane.client()),
            plane: plane.clone(),
            namespace: namespace.to_owned(),
            path: format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
            log: log.to_owned(),
        };
        let mut pod = None;
        Self { _stand_in: StandIn::start("a kubelet", move || watched.turn(&mut pod)) }
    }
}

// === impl Watched ===

impl Watched {
    fn turn(&self, pod: &mut Option<Pod>) {
        let deployment = ok(self.client.get(&self.path));
        let wanted = deployment.as_ref().filter(|deployment| deployment["spec"]["replicas"] != 0);
        let template = wanted.map(|deployment| &deployment["spec"]["template"]);
        if let Some(old) = pod.as_mut().filter(|old| Some(&old.template) != template) {
            ok(old.process.stop(GRACE));
            ok(self.client.delete(&format!("{}?gracePeriodSeconds=0", old.path)));
            *pod = None;
        }
        let Some(deployment) = deployment else { return };
        match pod {
            None if deployment["spec"]["replicas"] == 0 => ok(self.tell(&deployment, true)),
            None => *pod = Some(self.launch(&deployment["spec"]["template"])),
            Some(pod) => {
                let ended = ok(pod.process.try_wait());
                assert!(ended.is_none(), "the operator has ended: {}", pod.process.log_tail());
                let is_ready = page(pod.probes, "/readyz").is_ok_and(|(status, _)| status == 200);
                ok(self.tell(&deployment, is_ready));
            }
        }
    }

    fn launch(&self, template: &Value) -> Pod {
        let (spec, container) = (&template["spec"], &template["spec"]["containers"][0]);
        let arguments = texts(&container["args"]);
        let [first, flags @ ..] = &arguments[..] else { panic!("{container} has no arguments") };
        assert_eq!(*first, "run");
        let variables: Vec<_> = container["env"].as_array().into_iter().flatten().collect();
        let variables: Vec<_> =
            variables.iter().map(|set| (text(&set["name"]), text(&set["value"]))).collect();
        let probes = ok(free_port());
        let account = text(&spec["serviceAccountName"]);
        let kubeconfig = ok(self.plane.kubeconfig_for_service_account(&self.namespace, account));
        let launcher = Launcher::new(&kubeconfig)
            .flags(flags)
            .flags(&[&format!("--health-probe-bind-address=127.0.0.1:{probes}")])
            .environment(&variables);
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let mut object = template.clone();
        object["metadata"]["generateName"] = json!("stand-in-");
        let object = ok(self.client.create(&pods, &object));
        let process = launcher.spawn(Path::new(env!("CARGO_BIN_EXE_testinium-operator")), &self.log);
        let path = format!("{pods}/{}", text(&object["metadata"]["name"]));
        Pod { path, template: template.clone(), process: ok(process), probes }
    }

    /// Writes the status that the Deployment has once all of its replicas are ready, or none is.
    fn tell(&self, deployment: &Value, is_ready: bool) -> Result<(), Error> {
        let replicas = &deployment["spec"]["replicas"];
        let ready = if is_ready { replicas.clone() } else { json!(0) };
        let condition = json!({
            "type": "Available", "status": if is_ready { "True" } else { "False" }, "reason": "StandIn", "message": "",
        });
        let wanted = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
            "conditions": [condition],
        });
        if wanted["observedGeneration"] == deployment["status"]["observedGeneration"]
            && ready == *deployment["status"].get("readyReplicas").unwrap_or(&json!(0))
        {
            return Ok(());
        }
        unless_gone(self.client.patch(&format!("{}/status", self.path), &json!({"status": wanted})))
    }
}
