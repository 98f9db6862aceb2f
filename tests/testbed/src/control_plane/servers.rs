//! The command lines of the two servers.

use std::path::Path;
use std::process::Command;

use super::audit::AuditLevel;
use super::files::Files;
use super::options::Options;

/// etcd for one short life: nothing is synced to disk, so a crash of the machine would lose it all.
pub(super) fn etcd(binary: &Path, files: &Files, options: &Options) -> Command {
    let mut command = Command::new(binary);
    // The sockets' paths are relative: the system allows an absolute one about a hundred bytes only.
    command.current_dir(files.directory()).args([
        "--name=testbed",
        "--data-dir=data",
        "--unsafe-no-fsync",
        // Benchmarks write more than the usual 2 GiB before the first compaction.
        "--quota-backend-bytes=8589934592",
        "--listen-client-urls=unix://etcd.sock",
        "--advertise-client-urls=unix://etcd.sock",
        "--listen-peer-urls=unix://peer.sock",
        "--initial-advertise-peer-urls=unix://peer.sock",
        "--initial-cluster=testbed=unix://peer.sock",
    ]);
    command.args(&options.etcd_args);
    command
}

pub(super) fn kube_apiserver(binary: &Path, files: &Files, options: &Options, port: u16) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(files.directory()).arg(format!("--secure-port={port}")).args([
        "--etcd-servers=unix://etcd.sock",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        // Nobody in the cluster asks for the service `kubernetes`, and a loopback address is no endpoint.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--client-ca-file=ca.crt",
        "--authentication-config=authentication.yaml",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-accounts.pub",
        "--service-account-signing-key-file=service-accounts.key",
        // No controller gives each namespace the ServiceAccount that this plugin wants for pods.
        "--disable-admission-plugins=ServiceAccount",
    ]);
    match options.audit {
        AuditLevel::Off => {}
        AuditLevel::Metadata | AuditLevel::Request => {
            command.args([
                "--audit-policy-file=audit-policy.yaml",
                "--audit-log-path=audit.log",
                // The reader knows one file: never begin another.
                "--audit-log-maxsize=100000",
            ]);
        }
    }
    command.args(&options.api_server_args);
    command
}
