//! Namespaces that are listed each by itself: what is missing in one is missing in that one alone.

use crate::api::reason;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::*;

/// Runs are stopped, and gateways there, in the namespaces a and b.
struct Cluster {
    machine: Machine,
    mono: u64,
}

// === impl Cluster ===

impl Cluster {
    fn new() -> Self {
        Self { machine: Machine::new(Limits::default(), 7), mono: 1_000 }
    }

    /// What is called and written for an input; Secrets are read at once.
    fn feed(&mut self, input: Input) -> Vec<String> {
        let (mut told, mut inputs) = (Vec::new(), vec![input]);
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            let now = Now { mono: Millis(self.mono), wall: wall(self.mono) };
            self.machine.handle(now, [input], &mut out);
            for effect in out {
                match effect {
                    Effect::Post { gateway, .. } => told.push(format!("call {}", gateway.namespace)),
                    Effect::Write { to, body: WriteBody::RunStatus(status), .. } => {
                        let reason = status.conditions.iter().find(|found| found.type_ == "Stopped");
                        let reason = reason.map(|found| found.reason.clone()).unwrap_or_default();
                        told.push(format!("write {} {reason}", to.key.namespace));
                    }
                    Effect::ReadCredential { gateway, epoch, .. } => {
                        let version = SecretVersion("1".to_owned());
                        let read = CredentialRead::Have { version, good_for: None };
                        inputs.push(Input::Credential(gateway.key.clone(), epoch, read));
                    }
                    _ => {}
                }
            }
        }
        told
    }

    fn list(&mut self, kind: Kind, namespace: &str, is_there: bool) -> Vec<String> {
        let object = match kind {
            Kind::Runs => {
                let mut run = fixtures::run(namespace, "nightly", vec![1]);
                run.spec.stopped = Some(true);
                ObjectView::Run(Box::new(run))
            }
            Kind::Gateways => ObjectView::Gateway(Box::new(fixtures::gateway(namespace))),
            Kind::Cleanups => ObjectView::Cleanup(Box::new(fixtures::cleanup(namespace, "@daily"))),
        };
        let mut told = self.feed(Input::ListBegan(Extent::of(kind, namespace)));
        if is_there {
            told.extend(self.feed(Input::Seen(object)));
        }
        told.extend(self.feed(Input::ListDone(Extent::of(kind, namespace))));
        told
    }

    fn pass(&mut self, millis: u64) -> Vec<String> {
        self.mono += millis;
        self.feed(Input::Wake)
    }
}

#[test]
fn a_namespace_that_can_not_be_listed_holds_up_no_other_and_goes_on_when_it_can_be() {
    let mut cluster = Cluster::new();
    for kind in [Kind::Gateways, Kind::Runs] {
        let refused = Input::ListFailed(Extent::of(kind, "b"), "no right in b".to_owned());
        assert!(cluster.feed(refused).is_empty());
    }
    assert!(cluster.list(Kind::Gateways, "a", true).is_empty());
    assert_eq!(cluster.list(Kind::Runs, "a", true), ["call a"]);
    assert!(cluster.list(Kind::Gateways, "b", true).is_empty());
    assert_eq!(cluster.list(Kind::Runs, "b", true), ["call b"]);
}

#[test]
fn runs_of_a_namespace_are_called_for_only_once_they_are_all_known() {
    let mut cluster = Cluster::new();
    for namespace in ["a", "b"] {
        assert!(cluster.list(Kind::Gateways, namespace, true).is_empty());
    }
    cluster.feed(Input::ListBegan(Extent::of(Kind::Runs, "b")));
    let mut run = fixtures::run("b", "nightly", vec![1]);
    run.spec.stopped = Some(true);
    cluster.feed(Input::Seen(ObjectView::Run(Box::new(run))));
    assert_eq!(cluster.list(Kind::Runs, "a", true), ["call a"], "the other one's list is under way");
    assert!(cluster.pass(500).is_empty());
    assert_eq!(cluster.feed(Input::ListDone(Extent::of(Kind::Runs, "b"))), ["call b"]);
}

#[test]
fn gateways_that_can_not_be_listed_are_missing_in_their_namespace_alone() {
    let mut cluster = Cluster::new();
    cluster.feed(Input::ListFailed(Extent::of(Kind::Gateways, "b"), "no right in b".to_owned()));
    for namespace in ["a", "b"] {
        cluster.list(Kind::Runs, namespace, true);
    }
    cluster.list(Kind::Gateways, "a", false);
    let told = cluster.pass(1_000);
    let expected =
        [format!("write a {}", reason::GATEWAY_NOT_FOUND), format!("write b {}", reason::GATEWAY_NOT_LISTED)];
    assert_eq!(told, expected);
}

#[test]
fn a_list_of_one_namespace_takes_nothing_from_another() {
    let mut cluster = Cluster::new();
    for namespace in ["a", "b"] {
        cluster.list(Kind::Gateways, namespace, true);
        assert_eq!(cluster.list(Kind::Runs, namespace, true), [format!("call {namespace}")]);
    }
    cluster.list(Kind::Runs, "b", false);
    cluster.list(Kind::Gateways, "b", false);
    assert_eq!((cluster.machine.active(), cluster.machine.in_flight()), (1, 2));
}
