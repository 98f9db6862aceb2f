//! Reading what a gateway's credential is made of: Secrets and ConfigMaps of its own namespace, with `get` alone.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use secrecy::SecretString;
use tokio::time::timeout;

use super::call::chain;
use crate::api::CaKind;
use crate::gateway::Material;
use crate::stop::{CredentialRead, GatewayView, SecretVersion};

/// A read takes milliseconds; the machine asks again if it does not.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads it all. The version says which state of the objects it was; what is missing is said in words for whoever can
/// create it.
pub async fn read(
    client: &kube::Client,
    view: &GatewayView,
) -> Result<(Material, SecretVersion), CredentialRead> {
    let mut reader = Reader { client, namespace: &view.key.namespace, versions: Vec::new() };
    let mut material = Material::default();
    let auth = &view.spec.auth;
    if let Some(bearer) = &auth.bearer_token {
        let secret = reader.secret(&bearer.secret_ref.name).await?;
        let key = bearer.secret_ref.key.as_deref().unwrap_or("token");
        material.token = Some(required(&secret, key)?);
    }
    if let Some(password) = &auth.password {
        let secret = reader.secret(&password.secret_ref.name).await?;
        material.username = Some(required(&secret, "username")?);
        material.password = Some(required(&secret, "password")?);
        material.client_key = text(&secret, "clientKey")?;
        if material.client_key.is_none() {
            material.client_id = Some(required(&secret, "clientId")?);
            material.client_secret = Some(required(&secret, "clientSecret")?);
        }
    }
    if let Some(tls) = &view.spec.tls {
        if let Some(ca) = &tls.ca_ref {
            let key = ca.key.as_deref().unwrap_or("ca.crt");
            material.ca_pem = Some(match ca.kind.unwrap_or_default() {
                CaKind::ConfigMap => reader.config_map_key(&ca.name, key).await?,
                CaKind::Secret => exposed(&required(&reader.secret(&ca.name).await?, key)?),
            });
        }
        if let Some(certificate) = &tls.client_certificate_ref {
            let secret = reader.secret(&certificate.name).await?;
            material.client_cert_pem = Some(exposed(&required(&secret, "tls.crt")?));
            material.client_key_pem = Some(required(&secret, "tls.key")?);
        }
    }
    Ok((material, SecretVersion(reader.versions.join(","))))
}

struct Reader<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
    versions: Vec<String>,
}

// === impl Reader ===

impl Reader<'_> {
    async fn secret(&mut self, name: &str) -> Result<Secret, CredentialRead> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let secret = answered("Secret", name, timeout(LIMIT, api.get(name)).await)?;
        self.note(&secret);
        Ok(secret)
    }

    async fn config_map_key(&mut self, name: &str, key: &str) -> Result<String, CredentialRead> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let map = answered("ConfigMap", name, timeout(LIMIT, api.get(name)).await)?;
        self.note(&map);
        let value = map.data.as_ref().and_then(|data| data.get(key));
        value.cloned().ok_or_else(|| no_key("ConfigMap", name, key))
    }

    fn note(&mut self, object: &impl ResourceExt) {
        let (uid, version) = (object.uid(), object.resource_version());
        self.versions.push(format!("{}/{}", uid.unwrap_or_default(), version.unwrap_or_default()));
    }
}

fn answered<K>(
    kind: &str,
    name: &str,
    answer: Result<kube::Result<K>, tokio::time::error::Elapsed>,
) -> Result<K, CredentialRead> {
    let failed = |why| CredentialRead::Failed { why, retry_after: None };
    match answer {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err(CredentialRead::Missing(format!("there is no {kind} \"{name}\" in its namespace; create it")))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(CredentialRead::Missing(format!(
            "the operator may not read {kind} \"{name}\": {}",
            status.message
        ))),
        Ok(Err(error)) => Err(failed(format!("{kind} \"{name}\" could not be read: {}", chain(&error)))),
        Err(_) => Err(failed(format!("{kind} \"{name}\" could not be read in time"))),
    }
}

fn required(secret: &Secret, key: &str) -> Result<SecretString, CredentialRead> {
    text(secret, key)?.ok_or_else(|| no_key("Secret", &secret.name_any(), key))
}

fn text(secret: &Secret, key: &str) -> Result<Option<SecretString>, CredentialRead> {
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
    match std::str::from_utf8(&bytes.0) {
        Ok(text) => Ok(Some(SecretString::from(text))),
        Err(_) => Err(CredentialRead::Invalid(format!(
            "key \"{key}\" of Secret \"{}\" is no UTF-8 text",
            secret.name_any()
        ))),
    }
}

/// Certificates are public.
fn exposed(value: &SecretString) -> String {
    secrecy::ExposeSecret::expose_secret(value).to_owned()
}

fn no_key(kind: &str, name: &str, key: &str) -> CredentialRead {
    CredentialRead::Missing(format!("{kind} \"{name}\" has no key \"{key}\"; add it"))
}
