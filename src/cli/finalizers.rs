//! The flags of `release-finalizers`. Those that `run` has too mean the same, and have the same environment variables, so
//! that what is released is what the operator served.

use clap::Args;
use kube::core::Selector;

use super::{selector, values};

/// Which operator has ended, and whose runs are released.
#[derive(Args, Clone, Debug)]
pub struct ReleaseFinalizersArgs {
    /// Namespace of the operator; the pod's own, or the kubeconfig's, if absent.
    #[arg(verbatim_doc_comment, long, value_name = "NAMESPACE", value_parser = values::namespace)]
    pub namespace: Option<String>,

    /// The operator's Deployment, which is scaled to 0 first. Without it, end the operator yourself.
    #[arg(verbatim_doc_comment, long, value_name = "NAME", value_parser = values::object_name)]
    pub deployment: Option<String>,

    /// Do nothing unless the Deployment belongs to this release of Helm.
    ///
    /// For the Job that a chart has for its uninstallation: whoever renders a chart without Helm, and applies all of it,
    /// must not switch the operator off.
    #[arg(verbatim_doc_comment, long, value_name = "NAME", requires = "deployment")]
    pub helm_release: Option<String>,

    /// Name of the operator's Lease. It is held meanwhile, so that no operator acts.
    ///
    /// An operator that runs with --leader-elect=false takes none: end it before.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LEASE_NAME", value_name = "NAME", default_value = "testinium-operator",
        value_parser = values::object_name)]
    pub lease_name: String,

    /// Namespace of the Lease; that of --namespace if absent.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LEASE_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    pub lease_namespace: Option<String>,

    /// Longest wait for the operator to end, in seconds.
    #[arg(verbatim_doc_comment, long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout_seconds: u32,

    /// Namespaces whose runs are released, separated by commas; all of them if absent.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',',
        value_parser = values::namespace)]
    pub watch_namespaces: Vec<String>,

    /// Label selector of the runs that are released; all of them if absent.
    ///
    /// The one that the operator had: runs of other shards have an operator that takes care of them.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_WATCH_LABEL_SELECTOR", value_name = "SELECTOR", value_parser = selector::parse,
        default_value = "", hide_default_value = true)]
    pub watch_label_selector: Selector,

    /// Say what would be done, and change nothing.
    #[arg(verbatim_doc_comment, long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(args: &[&str]) -> Result<ReleaseFinalizersArgs, clap::Error> {
        match Cli::try_parse_from(["testinium-operator", "release-finalizers"].iter().chain(args))?.command {
            Command::ReleaseFinalizers(args) => Ok(*args),
            Command::Run(_) | Command::Crds(_) => unreachable!("asked for release-finalizers"),
        }
    }

    #[test]
    fn every_run_is_released_and_no_deployment_is_touched_by_default() {
        let args = read(&[]).expect("every flag is optional");
        assert_eq!((args.namespace, args.deployment, args.lease_namespace), (None, None, None));
        assert_eq!((args.lease_name.as_str(), args.timeout_seconds), ("testinium-operator", 120));
        assert!(args.watch_namespaces.is_empty() && !args.dry_run);
        assert_eq!(args.watch_label_selector.to_string(), "");
    }

    #[test]
    fn a_shard_is_named_as_its_operator_was() {
        let args = read(&[
            "--namespace=ops",
            "--deployment=shard-a-operator",
            "--helm-release=shard-a",
            "--lease-name=shard-a-operator",
            "--lease-namespace=leases",
            "--timeout-seconds=5",
            "--watch-namespaces=a, b",
            "--watch-label-selector=shard in (a,b)",
            "--dry-run",
        ])
        .expect("good usage");
        assert_eq!(
            (args.namespace.as_deref(), args.lease_namespace.as_deref()),
            (Some("ops"), Some("leases"))
        );
        assert_eq!(
            (args.deployment.as_deref(), args.lease_name.as_str()),
            (Some("shard-a-operator"), "shard-a-operator")
        );
        assert_eq!((args.watch_namespaces, args.timeout_seconds), (vec!["a".to_owned(), "b".to_owned()], 5));
        assert_eq!(args.watch_label_selector.to_string(), "shard in (a,b)");
        assert_eq!(args.helm_release.as_deref(), Some("shard-a"));
        assert!(args.dry_run);
    }

    #[test]
    fn wrong_usage_is_refused_before_anything_is_touched() {
        for bad in [
            "--namespace=A",
            "--deployment=a_b",
            "--timeout-seconds=soon",
            "--watch-label-selector=a=b c",
            "--helm-release=of-no-deployment",
            "extra",
        ] {
            assert_eq!(read(&[bad]).expect_err(bad).exit_code(), 2, "{bad}");
        }
    }

    /// A flag of `run` that says what is served means the same here, and comes from the same variable.
    #[test]
    fn flags_that_run_has_too_have_its_environment_variables() {
        let cli = <Cli as clap::CommandFactory>::command();
        let variables = |command: &str| -> Vec<(String, Option<String>)> {
            let command = cli.find_subcommand(command).expect("there is this command");
            let flags = command.get_arguments().filter_map(|flag| {
                let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned());
                Some((flag.get_long()?.to_owned(), variable))
            });
            flags.collect()
        };
        let of_run = variables("run");
        let shared: Vec<_> = variables("release-finalizers")
            .into_iter()
            .filter(|(flag, _)| of_run.iter().any(|(other, _)| other == flag))
            .collect();
        let names: Vec<_> =
            shared.iter().map(|(flag, _)| flag.as_str()).filter(|flag| *flag != "help").collect();
        assert_eq!(names, ["lease-name", "lease-namespace", "watch-namespaces", "watch-label-selector"]);
        for flag in shared {
            assert!(of_run.contains(&flag), "{flag:?}");
        }
    }
}
