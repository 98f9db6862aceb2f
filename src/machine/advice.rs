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

fn annotate(run: &Key, annotation: &str, value: &str) -> String {
    format!(
        "kubectl annotate testplanrun {} -n {} --overwrite --field-manager=testinium testinium.io/{annotation}={value}",
        run.name, run.namespace
    )
}
