//! The states of a stage that tests wait for, each with a limit.

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::Guarded;

use crate::cluster::ok;
use crate::operator::{SOON, Stage, condition, outcomes};

impl Stage {
    /// Ids of every call so far, in order.
    pub(crate) fn calls(&self) -> Vec<Vec<i64>> {
        self.simulator.calls().into_iter().map(|call| call.plans).collect()
    }

    /// Stops a run of one plan and waits for its end: whatever was asked for before has been sent by then.
    #[track_caller]
    pub(crate) fn settle(&self, name: &str, plan: i64) {
        self.run(name, &[plan]);
        self.stop(name);
        self.wait_for(name, "Accepted");
    }

    /// Waits until so many calls have arrived, answered or not.
    #[track_caller]
    pub(crate) fn wait_for_calls(&self, count: usize) {
        ok(wait_until(&format!("{count} calls"), SOON, || match self.calls() {
            calls if calls.len() >= count => Ok(()),
            calls => Err(format!("{calls:?}")),
        }));
    }

    /// Waits until the status of a run is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_status(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        ok(wait_until(&format!("{name}: {what}"), SOON, || {
            let status = self.status(name);
            if wanted(&status) { Ok(status) } else { Err(status) }
        }))
    }

    /// Waits until these are the plans of a run, and what became of them.
    #[track_caller]
    pub(crate) fn wait_for_outcomes(&self, name: &str, wanted: &[&str]) -> Value {
        self.wait_for_status(name, &format!("{wanted:?}"), |status| outcomes(status) == wanted)
    }

    /// Waits until the status speaks of the newest spec.
    #[track_caller]
    pub(crate) fn wait_until_observed(&self, name: &str) -> Value {
        let run = ok(self.namespace.kubectl.get_json(&["tpr", name]));
        let generation = &run["metadata"]["generation"];
        self.wait_for_status(name, &format!("generation {generation}"), |status| {
            status["observedGeneration"] == *generation
        })
    }

    /// Waits until the operator has seen all that was done to runs before. One watch brings them all in order, so it
    /// has once it knows a run that was made later.
    #[track_caller]
    pub(crate) fn catch_up(&self) {
        let run = json!({"apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"generateName": "catch-up-"}, "spec": {"plans": [1]}});
        let arguments = ["create", "--filename=-", "--output=name"];
        let created = self.namespace.kubectl.run_with_input(&arguments, &run.to_string());
        let created = ok(created.and_then(|output| output.success()));
        let name = created.trim().rsplit('/').next().unwrap_or_default();
        self.wait_for(name, "NotRequested");
    }

    /// Waits until so many runs have this reason.
    #[track_caller]
    pub(crate) fn wait_for_all(&self, reason: &str, count: usize) {
        let reasons =
            "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Stopped\")].reason}{\"\\n\"}{end}";
        ok(wait_until(&format!("{count} runs to be {reason}"), SOON * 4, || {
            let found = self.namespace.run(&["get", "tpr", "--output", reasons]);
            match found.lines().filter(|other| *other == reason).count() {
                found if found >= count => Ok(()),
                found => Err(found),
            }
        }));
    }

    /// Waits until the gateway's status says this of its newest spec.
    #[track_caller]
    pub(crate) fn wait_for_gateway(&self, reason: &str) -> Value {
        ok(wait_until(&format!("the gateway to be {reason}"), SOON, || {
            let gateway = ok(self.namespace.kubectl.get_json(&["tgw", "default"]));
            let (status, generation) = (&gateway["status"], &gateway["metadata"]["generation"]);
            match condition(status, "Ready") {
                Some(ready) if ready["reason"] == reason && status["observedGeneration"] == *generation => {
                    Ok(status.clone())
                }
                _ => Err(gateway),
            }
        }))
    }

    /// One operator that serves another namespace as well.
    pub(crate) fn spawn_with(&self, other: &Stage) -> Guarded {
        self.spawn("operator.log", &["--leader-elect=false", "--watch-namespaces", &other.namespace.name])
    }

    pub(crate) fn rearm(&self, name: &str) {
        self.patch(name, r#"{"spec":{"stopped":false}}"#);
    }

    /// Sets the annotation that asks for a stop.
    pub(crate) fn annotate(&self, name: &str, value: &str) {
        self.namespace.run(&["annotate", "tpr", name, "--overwrite", &format!("testinium.io/stop={value}")]);
    }
}

/// Reason of the condition Stopped.
pub(crate) fn stopped_reason(status: &Value) -> &str {
    condition(status, "Stopped").and_then(|stopped| stopped["reason"].as_str()).unwrap_or_default()
}
