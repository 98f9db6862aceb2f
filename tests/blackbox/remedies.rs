//! Whoever pastes the command of a message gets the plans stopped: the message is read from the object or the event, and
//! nothing else is typed.

use serde_json::Value;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::Nature;
use testinium_testbed::terminal::Terminal;

use crate::cluster::{cluster, ok, site};
use crate::operator::{SOON, condition};
use crate::troubleshooting::{Failure, prepare, watching};

/// A failure whose message has the command that ends it.
struct Remedy {
    name: &'static str,
    /// The reason of the condition Stopped.
    reason: &'static str,
    /// The event that has the command; the condition has it if there is none.
    event: Option<&'static str>,
    /// What has to be mended elsewhere before the command helps.
    mend: fn(&Failure),
}

const REMEDIES: &[Remedy] = &[
    Remedy { name: "no-secret", reason: "SecretNotFound", event: None, mend: |_| {} },
    Remedy { name: "suspended", reason: "Suspended", event: None, mend: |_| {} },
    Remedy {
        name: "rejected",
        reason: "PartiallyStopped",
        event: None,
        mend: |failure| failure.simulator.plan(615, Nature::Running),
    },
    Remedy {
        name: "unrecognized",
        reason: "Failed",
        event: None,
        mend: |failure| failure.simulator.clear_scripts(),
    },
    Remedy {
        name: "expired",
        reason: "Expired",
        event: None,
        mend: |failure| failure.simulator.up().expect("it comes up"),
    },
    Remedy {
        name: "reverted",
        reason: "NotRequested",
        event: Some("StopReverted"),
        // Somebody has started them once more.
        mend: |failure| failure.simulator.plans([614, 615], Nature::Running),
    },
    Remedy { name: "annotation", reason: "NotRequested", event: Some("InvalidAnnotation"), mend: |_| {} },
];

// === impl Remedy ===

impl Remedy {
    /// The command at the end of the message.
    fn command(&self, failure: &Failure) -> String {
        let message = match self.event {
            None => {
                let object = ok(failure.namespace.kubectl.get_json(&["tpr/nightly"]));
                let stopped = condition(&object["status"], "Stopped").expect("it is there");
                stopped["message"].as_str().expect("it has a message").to_owned()
            }
            Some(reason) => {
                let events = ok(failure.namespace.kubectl.get_json(&["events.v1.events.k8s.io"]));
                let is_it = |event: &&Value| event["reason"] == reason;
                let event = events["items"].as_array().and_then(|items| items.iter().find(is_it));
                event.expect("it was told")["note"].as_str().expect("it has a message").to_owned()
            }
        };
        let (_, command) = message.rsplit_once(", run: ").expect("it says what to run");
        command.to_owned()
    }
}

#[test]
fn whoever_pastes_the_command_of_a_message_gets_the_plans_stopped() {
    let failures: Vec<_> =
        REMEDIES.iter().map(|remedy| (remedy, Failure::new(remedy.name, remedy.reason, None, ""))).collect();
    failures.iter().for_each(|(_, failure)| prepare(failure));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flag = watching(failures.iter().map(|(_, failure)| failure));
    let operator = ok(site().direct_operator(directory.path(), "operator", &["--leader-elect=false", &flag]));
    ok(operator.start());
    for (remedy, failure) in &failures {
        failure.stop();
        failure.wait_for("tpr/nightly", "Stopped", remedy.reason);
        if let Some(event) = remedy.event {
            failure.wait_for_event(event);
        }
        (remedy.mend)(failure);
        // The calls so far are of the failure, or of the stop before it.
        failure.simulator.forget_requests();
        let command = remedy.command(failure);
        let terminal = ok(Terminal::new(cluster(), &failure.namespace.name, directory.path()));
        let typed = ok(terminal.run(&format!("export TOKEN=simulated-token; {command}")));
        assert!(typed.status.success(), "{}: {command}: {typed:?}", remedy.name);
        ok(wait_until(&format!("the plans to be stopped after {command}"), SOON, || {
            let status = ok(failure.namespace.kubectl.get_json(&["tpr/nightly"]))["status"].clone();
            let is_stopped =
                condition(&status, "Stopped").is_some_and(|stopped| stopped["reason"] == "Accepted");
            if is_stopped && !failure.simulator.calls().is_empty() { Ok(()) } else { Err(status) }
        }));
    }
}
