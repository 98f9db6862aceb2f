//! A namespace, a simulated gateway and an operator, with a fault proxy on either side of the operator.
//!
//! ```text
//! API server <-- proxy <-- operator --> proxy --> simulated gateway
//! ```
//!
//! Everything in here can be broken, and everything is on record, without starting a `kubectl`: what is done
//! thousands of times is done here.

use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::faults::{self, Proxy};
use crate::kubectl::wait_until;
use crate::operator::{Operator, Site};
use crate::simulator::{self, Simulator};
use crate::{Error, process};

/// A namespace of one scenario's own.
#[derive(Debug)]
pub struct Arena<'a> {
    pub site: &'a Site,
    pub namespace: String,
    pub simulator: Simulator,
    /// Stands before the gateway.
    pub gateway: Proxy,
    directory: TempDir,
}

// === impl Arena ===

impl<'a> Arena<'a> {
    /// An arena with a gateway called `default` and its Secret; no operator yet.
    pub fn new(site: &'a Site, name: &str, simulator: simulator::Config) -> Result<Self, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let token = simulator.token.clone();
        let simulator = Simulator::start(simulator).map_err(Error::Simulator)?;
        let gateway = Proxy::start(faults::Config::new(&simulator.url())).map_err(Error::Proxy)?;
        let namespace = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = process::temporary_directory("testinium-arena-")?;
        let arena = Self { site, namespace, simulator, gateway, directory };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": arena.namespace}});
        site.client.create("/api/v1/namespaces", &namespace)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": token},
        });
        site.client.create(&format!("/api/v1/namespaces/{}/secrets", arena.namespace), &secret)?;
        site.client.create(&arena.path("testiniumgateways", ""), &arena.valid_gateway("default"))?;
        Ok(arena)
    }

    /// A gateway that works, by the proxy; its retries are short.
    pub fn valid_gateway(&self, name: &str) -> Value {
        json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": name},
            "spec": {
                "url": self.gateway.url(), "allowPlainHTTP": true,
                "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
                "retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 1},
            },
        })
    }

    /// An operator for this namespace alone, without a Lease.
    pub fn operator(&self) -> Result<Operator, Error> {
        self.operator_with("operator", &["--leader-elect=false"])
    }

    /// The same operator with a name and flags of one's own.
    pub fn operator_with(&self, name: &str, flags: &[&str]) -> Result<Operator, Error> {
        let watched = format!("--watch-namespaces={}", self.namespace);
        self.site.operator(self.directory(), name, &[&[watched.as_str()], flags].concat())
    }

    /// A directory for files that end with the arena.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a collection, or of an object in it.
    pub fn path(&self, resource: &str, name: &str) -> String {
        let collection = format!("/apis/testinium.io/v1alpha1/namespaces/{}/{resource}", self.namespace);
        if name.is_empty() { collection } else { format!("{collection}/{name}") }
    }

    /// Creates a run with this spec.
    pub fn create_run(&self, name: &str, spec: Value) -> Result<Value, Error> {
        let run = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": name}, "spec": spec,
        });
        self.site.client.create(&self.path("testplanruns", ""), &run)
    }

    pub fn patch_run(&self, name: &str, patch: &Value) -> Result<Value, Error> {
        self.site.client.patch(&self.path("testplanruns", name), patch)
    }

    pub fn patch_gateway(&self, patch: &Value) -> Result<Value, Error> {
        self.site.client.patch(&self.path("testiniumgateways", "default"), patch)
    }

    pub fn delete_run(&self, name: &str) -> Result<Value, Error> {
        self.site.client.delete(&self.path("testplanruns", name))
    }

    /// The run; null if there is none.
    pub fn run(&self, name: &str) -> Result<Value, Error> {
        Ok(self.site.client.get(&self.path("testplanruns", name))?.unwrap_or_default())
    }

    pub fn runs(&self) -> Result<Vec<Value>, Error> {
        self.site.client.list(&self.path("testplanruns", ""))
    }

    /// Waits until the run's condition Stopped has one of these reasons, and returns the run.
    pub fn wait_for(&self, name: &str, reasons: &[&str], limit: Duration) -> Result<Value, Error> {
        wait_until(&format!("{name} to be {}", reasons.join(" or ")), limit, || {
            let run = self.run(name).map_err(|error| error.to_string())?;
            if reasons.contains(&stopped(&run)) { Ok(run) } else { Err(run["status"].to_string()) }
        })
    }

    /// Takes everything of ours out of the namespace: nobody collects what is left in one that is deleted here.
    pub fn clear(&self) -> Result<(), Error> {
        let of_ours =
            ["testplancleanups", "testplanruns", "testiniumgateways"].map(|resource| self.path(resource, ""));
        let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        of_ours.iter().chain([&events]).try_for_each(|path| self.site.client.delete(path).map(drop))
    }
}

/// The reason of a run's condition Stopped; empty if it has none.
pub fn stopped(run: &Value) -> &str {
    let conditions = run["status"]["conditions"].as_array();
    let stopped = conditions.into_iter().flatten().find(|condition| condition["type"] == "Stopped");
    stopped.and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}

/// Waits until `probe` yields true.
pub fn until(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<bool, Error>,
) -> Result<(), Error> {
    wait_until(what, limit, || match probe() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Box::new("not yet") as Box<dyn Display>),
        Err(error) => Err(Box::new(error)),
    })
}
