//! The command line: flags, their environment variables and their help.
//!
//! Names are those that users of controller-runtime know. Everything is checked here, so that wrong usage ends at
//! once with exit code 2 and never as an error in a log.

mod finalizers;
mod selector;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use kube::core::Selector;

pub use finalizers::ReleaseFinalizersArgs;
pub use values::BindAddress;
use values::is_dns_subdomain;

use crate::machine::{Limits, OriginLimits};

/// Stops Testinium test plans from Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "testinium-operator", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until it is told to stop.
    ///
    /// The cluster is found as every Kubernetes client finds it: by KUBECONFIG, else ~/.kube/config, else the
    /// ServiceAccount of the pod. Exit codes: 0 asked to stop, 1 failed, 2 wrong usage. Flags go before environment
    /// variables, and an empty variable counts as absent.
    #[command(verbatim_doc_comment)]
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions, as YAML for kubectl apply -f - or as a page to read.
    Crds(CrdsArgs),
    /// Take the finalizer testinium.io/stop off all TestPlanRuns, so that none waits for an operator that is gone.
    ///
    /// To be run before the operator is uninstalled, or after it. It ends the operator, waits until the Lease is free,
    /// and takes the finalizer off: no run and no namespace hangs any more. It stops nothing at Testinium: plans of runs
    /// that are being deleted may go on running, and it says of how many. Exit codes: 0 no run has the finalizer any
    /// more, 1 some still have it, 2 wrong usage.
    #[command(verbatim_doc_comment)]
    ReleaseFinalizers(Box<ReleaseFinalizersArgs>),
}

/// The form of the definitions, and where they go.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Write into this directory instead of printing: one file for each definition, or the file reference.md.
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,

    /// Form in which the definitions are written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CrdsFormat::Yaml)]
    pub format: CrdsFormat,
}

/// Form of the definitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CrdsFormat {
    /// As they are installed.
    Yaml,
    /// Tables of every field, type, default, bound and rule.
    Markdown,
}

/// How the operator runs.
// Help keeps its line breaks: wrapping it to the terminal would take one more crate.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Namespaces whose runs and gateways are served, separated by commas; all of them if absent.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',',
        value_parser = values::namespace)]
    pub watch_namespaces: Vec<String>,

    /// Label selector of the runs that are served, such as 'shard=a' or 'team in (qa,dev)'; all of them if absent.
    ///
    /// For sharding: each shard needs its own --lease-name. Gateways are not selected by it.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_WATCH_LABEL_SELECTOR", value_name = "SELECTOR", value_parser = selector::parse,
        default_value = "", hide_default_value = true)]
    pub watch_label_selector: Selector,

    /// Act only while holding a Lease, so that of several replicas one acts at a time.
    ///
    /// Without it, two processes that serve the same runs stop each plan twice.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LEADER_ELECT", value_name = "BOOL", action = ArgAction::Set, default_value_t = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,

    /// Believe the annotation testinium.io/stop-requested-by, and tell it as status.stop.requestedBy.
    ///
    /// Anybody who may edit a run may write the annotation. So set this only where an admission policy sets it to the
    /// user who asks, and keeps out any other value, as the policy requester of deploy/ does.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_TRUST_REQUESTED_BY", value_name = "BOOL", action = ArgAction::Set,
        default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub trust_requested_by: bool,

    /// Follow the cleanup rules (TestPlanCleanup) of the namespaces that are served.
    ///
    /// It needs rights that nothing else here needs: deploy/manifests/rbac.yaml has them. A rule selects by its own
    /// selector alone, so of several shards give it to one.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_CLEANUP", value_name = "BOOL", action = ArgAction::Set,
        default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cleanup: bool,

    /// Name of the Lease.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LEASE_NAME", value_name = "NAME", default_value = "testinium-operator",
        value_parser = values::object_name)]
    pub lease_name: String,

    /// Namespace of the Lease; the pod's own if absent.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LEASE_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    pub lease_namespace: Option<String>,

    /// Addresses that gateways may resolve to although they are refused by default; may be given several times.
    ///
    /// Loopback, link-local (cloud metadata) and the API server's own address are refused, because whoever may edit a
    /// gateway could otherwise make the operator talk to them. Example: 127.0.0.0/8. The API server's addresses stay
    /// refused within a network that is allowed; one of them alone, such as 10.0.0.5/32, is what allows it. In the
    /// environment variable, several are separated by commas.
    #[arg(
        verbatim_doc_comment,
        long,
        env = "TESTINIUM_ALLOW_GATEWAY_CIDR",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = values::network
    )]
    pub allow_gateway_cidr: Vec<IpNet>,

    /// Calls under way to one origin at a time, whatever number of gateways lead to it.
    ///
    /// An origin is the scheme, host and port of a gateway's URL. Each gateway has limits of its own (spec.limits); this
    /// one they share. A namespace that has no call under way is not held up by it.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_ORIGIN_MAX_IN_FLIGHT", value_name = "CALLS", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub origin_max_in_flight: u16,

    /// Calls to one origin in a second, whatever number of gateways lead to it. A quiet second is worth as many at once.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_ORIGIN_REQUESTS_PER_SECOND", value_name = "CALLS", default_value_t = 50,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub origin_requests_per_second: u16,

    /// Memory for the runs that wait or are being stopped, in MiB.
    ///
    /// About 1.5 KiB a run and 250 bytes a plan. Half of it is for whoever comes first, the other half is divided equally
    /// among the namespaces that have such runs. What exceeds it waits as a name, and is read again when there is room.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_RUNS_MEMORY_MIB", value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub runs_memory_mib: u16,

    /// Where /metrics is served; 0 turns it off.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_METRICS_BIND_ADDRESS", value_name = "ADDRESS", default_value = ":8080",
        value_parser = values::bind_address)]
    pub metrics_bind_address: BindAddress,

    /// Where /healthz and /readyz are served; 0 turns them off.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_HEALTH_PROBE_BIND_ADDRESS", value_name = "ADDRESS", default_value = ":8081",
        value_parser = values::bind_address)]
    pub health_probe_bind_address: BindAddress,

    /// Form of the log on stderr.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Least important messages that are logged.
    ///
    /// debug and trace speak of this program alone: the libraries' own debug output could show tokens.
    #[arg(verbatim_doc_comment, long, env = "TESTINIUM_LOG_LEVEL", value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

// === impl Cli ===

impl Cli {
    /// Reads the process's arguments and environment. Wrong usage ends the process, with exit code 2.
    pub fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn try_read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        // An empty variable counts as absent: manifests have no other way to leave one out.
        let is_blank = |name: &std::ffi::OsStr| {
            std::env::var_os(name).is_some_and(|value| value.to_string_lossy().trim().is_empty())
        };
        let command = Self::command().mut_subcommands(|subcommand| {
            subcommand.mut_args(|argument| match argument.get_env() {
                Some(name) if is_blank(name) => argument.env(None),
                _ => argument,
            })
        });
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

// === impl RunArgs ===

impl RunArgs {
    /// The bounds of what the machine does and holds.
    pub fn limits(&self) -> Limits {
        Limits {
            origin: OriginLimits {
                max_in_flight: self.origin_max_in_flight.into(),
                calls_per_second: self.origin_requests_per_second.into(),
            },
            runs_bytes: usize::from(self.runs_memory_mib) * 1024 * 1024,
        }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Lines for people.
    Text,
}

/// Least important messages that are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Something failed and will be tried again.
    Warn,
    /// Something noteworthy happened.
    Info,
    /// What was decided and why.
    Debug,
    /// Everything.
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, clap::Error> {
        match Cli::try_parse_from(["testinium-operator", "run"].iter().chain(args))?.command {
            Command::Run(args) => Ok(*args),
            Command::Crds(_) | Command::ReleaseFinalizers(_) => unreachable!("asked for run"),
        }
    }

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let args = run(&[]).expect("every flag is optional");
        assert!(args.watch_namespaces.is_empty());
        assert_eq!(args.watch_label_selector.to_string(), "");
        assert!(args.leader_elect && !args.cleanup);
        assert_eq!((args.lease_name.as_str(), args.lease_namespace), ("testinium-operator", None));
        assert!(args.allow_gateway_cidr.is_empty());
        assert_eq!(args.metrics_bind_address, BindAddress::Any(8080));
        assert_eq!(args.health_probe_bind_address, BindAddress::Any(8081));
        assert_eq!((args.log_format, args.log_level), (LogFormat::Json, LogLevel::Info));
    }

    #[test]
    fn every_flag_is_read() {
        let args = run(&[
            "--watch-namespaces=a,b",
            "--watch-label-selector=shard in (x,y)",
            "--leader-elect=false",
            "--cleanup",
            "--lease-name=shard-x",
            "--lease-namespace=ops",
            "--allow-gateway-cidr=127.0.0.0/8",
            "--allow-gateway-cidr=::1/128",
            "--metrics-bind-address=0",
            "--health-probe-bind-address=127.0.0.1:9",
            "--log-format=text",
            "--log-level=debug",
        ])
        .expect("good usage");
        assert_eq!(args.watch_namespaces, ["a", "b"]);
        assert_eq!(args.watch_label_selector.to_string(), "shard in (x,y)");
        assert!(!args.leader_elect && args.cleanup);
        assert_eq!((args.lease_name.as_str(), args.lease_namespace.as_deref()), ("shard-x", Some("ops")));
        assert_eq!(args.allow_gateway_cidr.len(), 2);
        assert_eq!(args.metrics_bind_address, BindAddress::Off);
        assert_eq!(args.health_probe_bind_address, BindAddress::At(([127, 0, 0, 1], 9).into()));
        assert_eq!((args.log_format, args.log_level), (LogFormat::Text, LogLevel::Debug));
        assert!(run(&["--leader-elect"]).expect("a bare flag means true").leader_elect);
    }

    #[test]
    fn definitions_are_yaml_unless_a_page_is_asked_for() {
        for (args, format, dir) in [
            (&["crds"][..], CrdsFormat::Yaml, None),
            (&["crds", "--format=markdown", "--dir=docs"], CrdsFormat::Markdown, Some("docs")),
        ] {
            let command =
                Cli::try_parse_from([&["testinium-operator"], args].concat()).expect("good usage").command;
            let Command::Crds(args) = command else { unreachable!("asked for crds") };
            assert_eq!((args.format, args.dir), (format, dir.map(PathBuf::from)));
        }
    }

    #[test]
    fn lists_may_have_spaces_after_their_commas() {
        let args =
            run(&["--watch-namespaces=a, b ,c", "--allow-gateway-cidr=10.0.0.0/8, ::1/128"]).expect("good");
        assert_eq!(args.watch_namespaces, ["a", "b", "c"]);
        assert_eq!(args.allow_gateway_cidr.len(), 2);
    }

    #[test]
    fn wrong_usage_exits_with_2_and_says_why() {
        for (args, reason) in [
            (["--watch-namespaces", "a,B"], "expected a namespace"),
            (["--watch-label-selector", "a=b c"], "'b c' is no label value"),
            (["--lease-name", "Upper"], "expected a name"),
            (["--allow-gateway-cidr", "127.0.0.1"], "invalid"),
            (["--metrics-bind-address", "8080"], "expected ':8080'"),
            (["--log-level", "loud"], "possible values"),
            (["--kubeconfig", "x"], "unexpected argument"),
        ] {
            let error = run(&args).expect_err(args[0]);
            assert_eq!(error.exit_code(), 2, "{args:?}");
            assert!(error.to_string().contains(reason), "{args:?}: {error}");
        }
    }

    #[test]
    fn every_flag_has_help_and_an_environment_variable_named_after_it() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").expect("there is a command run");
        let flags: Vec<_> = run.get_arguments().filter(|arg| arg.get_id() != "help").collect();
        assert_eq!(flags.len(), 15, "each further flag is one more to learn");
        for flag in flags {
            let long = flag.get_long().expect("flags are long");
            let expected = format!("TESTINIUM_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "of --{long}");
            assert!(flag.get_help().is_some(), "--{long} needs help");
        }
    }
}
