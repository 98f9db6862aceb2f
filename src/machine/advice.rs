//! Commands that messages advise: whole, so that they can be pasted as they stand.
//!
//! Each names its field manager, because Flux takes over the fields that a manager named `kubectl...` has set.

use crate::machine::ids::Key;

/// The command that asks for a stop of every plan, by an annotation with a value that is new each time.
pub fn stop_again(run: &Key) -> String {
    annotate(run, "stop", "\"$(date +%s)\"")
}

/// The command that asks again for the plans that the stop has not stopped.
pub fn retry(run: &Key) -> String {
    annotate(run, "retry", "\"$(date +%s)\"")
}

/// The command that takes a stop back where `spec.stopped` is not true.
pub fn take_back(run: &Key) -> String {
    annotate(run, "stop", "no")
}

/// The command that takes any stop back by `spec.stopped`.
pub fn unset_stopped(run: &Key) -> String {
    format!(
        "kubectl patch testplanrun {} -n {} --type=merge --field-manager=testinium -p '{{\"spec\":{{\"stopped\":false}}}}'",
        run.name, run.namespace
    )
}

/// The command that shows the gateways of a namespace.
pub fn list_gateways(gateway: &Key) -> String {
    format!("kubectl get testiniumgateways -n {}", gateway.namespace)
}

/// The command that lets a suspended gateway go on.
pub fn resume(gateway: &Key) -> String {
    format!(
        "kubectl patch testiniumgateway {} -n {} --type=merge --field-manager=testinium -p '{{\"spec\":{{\"suspend\":false}}}}'",
        gateway.name, gateway.namespace
    )
}

/// The command that opens a gateway in an editor.
pub fn edit_gateway(gateway: &Key) -> String {
    format!("kubectl edit testiniumgateway {} -n {}", gateway.name, gateway.namespace)
}

/// The command that shows which Secret a gateway takes its credential from.
pub fn show_credential(gateway: &Key) -> String {
    format!(
        "kubectl get testiniumgateway {} -n {} -o jsonpath='{{.spec.auth}}'",
        gateway.name, gateway.namespace
    )
}

fn annotate(run: &Key, annotation: &str, value: &str) -> String {
    format!(
        "kubectl annotate testplanrun {} -n {} --overwrite --field-manager=testinium testinium.io/{annotation}={value}",
        run.name, run.namespace
    )
}
