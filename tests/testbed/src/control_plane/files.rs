//! The files of one control plane: keys, certificates, policies, kubeconfigs, logs and data.
//!
//! All lie in one directory, so that removing it leaves nothing. etcd is reached through a socket in it, which
//! needs no port, and which nobody else on the machine can open.

use std::io::Write;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use serde_json::json;

use super::audit::{self, AuditLevel};
use super::binaries::Version;
use crate::Error;
use crate::pki::Authority;

/// The directory, and the names in it.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

// === impl Files ===

impl Files {
    /// Writes all that the servers read. In a directory that was used before, the key of ServiceAccount
    /// tokens is kept, for they shall stay valid; certificates are made anew.
    pub(super) fn write(directory: &Path, audit: AuditLevel, version: Version) -> Result<Files, Error> {
        let files = Files { directory: directory.to_owned() };
        let authority = Authority::new("testbed control plane")?;
        let server = authority.server(&["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let admin = authority.client_in_group("admin", "system:masters")?;
        files.put("ca.crt", authority.pem())?;
        files.put("server.crt", &server.certificate_pem)?;
        files.put("server.key", &server.key_pem)?;
        files.put("admin.crt", &admin.certificate_pem)?;
        files.put("admin.key", &admin.key_pem)?;
        files.put("authentication.yaml", &authentication(version))?;
        files.put("audit-policy.yaml", &audit::policy(audit))?;
        if !files.path("service-accounts.key").is_file() {
            let key = KeyPair::generate().map_err(Error::SigningKey)?;
            files.put("service-accounts.pub", &key.public_key_pem())?;
            files.put("service-accounts.key", &key.serialize_pem())?;
        }
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A kubeconfig for the administrator, who proves himself with a client certificate.
    pub(super) fn admin_kubeconfig(&self, url: &str) -> Result<PathBuf, Error> {
        let user = json!({
            "client-certificate": self.path("admin.crt"),
            "client-key": self.path("admin.key"),
        });
        self.kubeconfig("admin", url, "default", &user)
    }

    /// A kubeconfig for whoever holds `token`, with `namespace` as its default.
    pub(super) fn token_kubeconfig(
        &self,
        name: &str,
        url: &str,
        namespace: &str,
        token: &str,
    ) -> Result<PathBuf, Error> {
        self.kubeconfig(name, url, namespace, &json!({ "token": token }))
    }

    fn kubeconfig(
        &self,
        name: &str,
        url: &str,
        namespace: &str,
        user: &serde_json::Value,
    ) -> Result<PathBuf, Error> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "testbed",
                "cluster": { "server": url, "certificate-authority": self.path("ca.crt") },
            }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{
                "name": "testbed",
                "context": { "cluster": "testbed", "user": name, "namespace": namespace },
            }],
            "current-context": "testbed",
        });
        let name = format!("{name}.kubeconfig");
        self.put(&name, &format!("{config:#}\n"))?;
        Ok(self.path(&name))
    }

    /// Writes a file in one step: it may be rewritten while somebody reads it. Nobody else may read it.
    fn put(&self, name: &str, content: &str) -> Result<(), Error> {
        let attempt = || format!("failed to write {}", self.path(name).display());
        let mut file = tempfile::NamedTempFile::new_in(&self.directory).map_err(Error::io(attempt()))?;
        file.write_all(content.as_bytes()).map_err(Error::io(attempt()))?;
        file.persist(self.path(name)).map_err(|failed| Error::io(attempt())(failed.error))?;
        Ok(())
    }
}

/// Without credentials nobody gets anything but the server's health.
fn authentication(version: Version) -> String {
    let format = if version < Version::V1_34 { "v1beta1" } else { "v1" };
    format!(
        "\
apiVersion: apiserver.config.k8s.io/{format}
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{{path: /healthz}}, {{path: /livez}}, {{path: /readyz}}]
"
    )
}
