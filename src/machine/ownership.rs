//! The marks of objects that must not be deleted: somebody would create them again, or wants to keep them.
//!
//! Deleting what a tool declares would begin everything anew each time. So any doubt keeps an object.

use jiff::Timestamp;

use crate::machine::view::Marks;

/// Labels and annotations of tools that would create an object again. A star at the end stands for anything.
const NAMES: [&str; 7] = [
    "kustomize.toolkit.fluxcd.io/*",
    "helm.toolkit.fluxcd.io/*",
    "argocd.argoproj.io/*",
    // The label of Argo CD before 3.0. Others set it too; but a run that stays does no harm.
    "app.kubernetes.io/instance",
    "meta.helm.sh/release-name",
    "applyset.kubernetes.io/part-of",
    "fleet.cattle.io/*",
];

/// Field managers of such tools.
const MANAGERS: [&str; 7] =
    ["argocd*", "kustomize-controller", "helm-controller", "helm", "fleetagent", "Terraform", "pulumi*"];

/// The time until which the annotation `testinium.io/keep-until` keeps a run; none if it can't be read, which keeps it for
/// ever: somebody wanted to.
pub fn kept_until(value: &str) -> Option<Timestamp> {
    value.trim().parse().ok()
}

/// The mark of a tool or owner that would create the object again, in words.
pub fn recreated_by(marks: &Marks) -> Option<String> {
    let name = marks.names.iter().find(|name| NAMES.iter().any(|mark| matches(name, mark)));
    let manager = marks.managers.iter().find(|name| MANAGERS.iter().any(|mark| matches(name, mark)));
    let owner = marks.controller.as_ref().map(|owner| format!("its controller {owner}"));
    name.map(|name| format!("the label or annotation {name}"))
        .or_else(|| manager.map(|manager| format!("the field manager {manager}")))
        .or(owner)
}

fn matches(name: &str, mark: &str) -> bool {
    mark.strip_suffix('*').map_or(name == mark, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = include_str!("../../deploy/chart/templates/bounds.yaml");

    /// The policy that bounds the operator's account refuses what this file keeps, and nothing that it lets go.
    #[test]
    fn the_policy_knows_the_same_marks() {
        let (_, policy) = POLICIES.split_once("operations: [DELETE]").expect("deletions have a policy");
        for name in NAMES {
            let expected = match name.strip_suffix('*') {
                Some(beginning) => format!("k.startsWith('{beginning}')"),
                None => format!("'{name}'"),
            };
            assert!(policy.contains(&expected), "the policy lacks {name}");
        }
        for manager in MANAGERS {
            let expected = match manager.strip_suffix('*') {
                Some(beginning) => format!("m.?manager.orValue('').startsWith('{beginning}')"),
                None => format!("'{manager}'"),
            };
            assert!(policy.contains(&expected), "the policy lacks {manager}");
        }
        let begins = NAMES.iter().chain(&MANAGERS).filter(|mark| mark.ends_with('*')).count();
        assert_eq!(policy.matches("startsWith").count(), begins, "the policy knows more");
    }
}
