//! Reading the parts of a gateway's credential: Secrets and ConfigMaps of its own namespace, with `get` alone.

use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use kube::api::GetParams;
use secrecy::{ExposeSecret, SecretString};

use super::advice;
use super::keys::{self, Encoding, Found, Value, Wanted};
use super::request::{self, NoReply, Reply};
use crate::api::CaKind;
use crate::aside;
use crate::machine::{CredentialRead, GatewayView, SecretVersion};
use crate::testinium::{
    CA_BYTES_MAX, CERTIFICATE_BYTES_MAX, CREDENTIAL_BYTES_MAX, CredentialData, KEY_BYTES_MAX, LoginSecret,
};

/// A read takes milliseconds; the machine asks again if it does not.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads all parts. The version tells which state of the objects they are from; an error names a missing object or key,
/// for the person who can create it.
pub async fn read(
    client: &kube::Client,
    view: &GatewayView,
) -> Result<(CredentialData, SecretVersion), CredentialRead> {
    let mut reader = Reader { client, namespace: &view.key.namespace, versions: Vec::new() };
    let mut data = CredentialData::default();
    let auth = &view.spec.auth;
    if let Some(bearer) = &auth.bearer_token {
        let key = bearer.secret_ref.key.as_deref().unwrap_or("token");
        let mut secret = reader.credentials(&bearer.secret_ref.name, &[key]).await?;
        data.token = Some(secret.required(key)?);
    }
    if let Some(password) = &auth.password {
        let keys = ["username", "password", "clientKey", "clientId", "clientSecret"];
        let mut secret = reader.credentials(&password.secret_ref.name, &keys).await?;
        data.login_secret = Some(secret.state.clone());
        data.username = Some(secret.required("username")?);
        data.password = Some(secret.required("password")?);
        data.client_key = secret.optional("clientKey")?;
        if data.client_key.is_none() {
            data.client_id = Some(secret.required("clientId")?);
            data.client_secret = Some(secret.required("clientSecret")?);
        }
    }
    if let Some(tls) = &view.spec.tls {
        if let Some(ca) = &tls.ca_ref {
            let key = ca.key.as_deref().unwrap_or("ca.crt");
            let wanted = [(key, CA_BYTES_MAX)];
            let mut object = match ca.kind.unwrap_or_default() {
                CaKind::ConfigMap => reader.object::<ConfigMap>(&ca.name, Encoding::Text, &wanted).await?,
                CaKind::Secret => reader.object::<Secret>(&ca.name, Encoding::Base64, &wanted).await?,
            };
            data.ca_pem = Some(exposed(&object.required(key)?));
        }
        if let Some(certificate) = &tls.client_certificate_ref {
            let wanted = [("tls.crt", CERTIFICATE_BYTES_MAX), ("tls.key", KEY_BYTES_MAX)];
            let mut secret = reader.object::<Secret>(&certificate.name, Encoding::Base64, &wanted).await?;
            data.client_cert_pem = Some(exposed(&secret.required("tls.crt")?));
            data.client_key_pem = Some(secret.required("tls.key")?);
        }
    }
    Ok((data, SecretVersion(reader.versions.join(","))))
}

struct Reader<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
    versions: Vec<String>,
}

/// The values that were found in an object.
struct Read<'a> {
    namespace: &'a str,
    name: &'a str,
    encoding: Encoding,
    /// Its kind and name, in words.
    what: String,
    state: LoginSecret,
    values: Vec<(Wanted, Value)>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    async fn credentials(&mut self, name: &'a str, keys: &[&str]) -> Result<Read<'a>, CredentialRead> {
        let wanted: Vec<_> = keys.iter().map(|key| (*key, CREDENTIAL_BYTES_MAX)).collect();
        self.object::<Secret>(name, Encoding::Base64, &wanted).await
    }

    async fn object<K: Resource<DynamicType = ()>>(
        &mut self,
        name: &'a str,
        encoding: Encoding,
        wanted: &[(&str, usize)],
    ) -> Result<Read<'a>, CredentialRead> {
        let what = format!("{} \"{name}\"", K::kind(&()));
        let path = K::url_path(&(), Some(self.namespace));
        let request = kube::core::Request::new(path).get(name, &GetParams::default());
        let request = request.map_err(|error| failed(&what, &error.to_string()))?;
        let create = || {
            let keys: Vec<_> = wanted.iter().map(|(key, _)| *key).collect();
            advice::create(encoding, self.namespace, name, &keys)
        };
        let body = answered(&what, create, self.send(request).await)?;
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(key, bytes_max)| Wanted { key: (*key).to_owned(), bytes_max: *bytes_max })
            .collect();
        let asked = wanted.clone();
        let found = aside::work(body.len(), move || keys::find(&body, encoding, &asked)).await;
        let Ok(Some(Found { uid, version, written, values })) = found else {
            return Err(failed(&what, "the Kubernetes API answered with something else"));
        };
        let state = LoginSecret { version: format!("{uid}/{version}"), written };
        self.versions.push(state.version.clone());
        let values = wanted.into_iter().zip(values).collect();
        Ok(Read { namespace: self.namespace, name, encoding, what, state, values })
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Reply, NoReply> {
        request::send(self.client, request, LIMIT).await
    }
}

/// `create`: the command that creates the object.
fn answered(
    what: &str,
    create: impl FnOnce() -> String,
    answer: Result<Reply, NoReply>,
) -> Result<Vec<u8>, CredentialRead> {
    match answer {
        Ok(reply) if reply.is_success() => Ok(reply.body),
        Ok(reply) if reply.status == 404 => {
            let create = create();
            Err(CredentialRead::Missing(format!(
                "there is no {what} in its namespace; create it; to do so, run: {create}"
            )))
        }
        Ok(reply) if reply.status == 403 => {
            Err(CredentialRead::Missing(format!("the operator may not read {what}: {}", reply.message())))
        }
        Ok(reply) => Err(failed(what, &reply.message())),
        Err(NoReply::Timeout(_)) => Err(CredentialRead::Failed {
            why: format!("{what} could not be read in time"),
            retry_after: None,
        }),
        Err(no_reply) => Err(failed(what, &no_reply.to_string())),
    }
}

fn failed(what: &str, why: &str) -> CredentialRead {
    CredentialRead::Failed { why: format!("{what} could not be read: {why}"), retry_after: None }
}

// === impl Read ===

impl Read<'_> {
    fn required(&mut self, key: &str) -> Result<SecretString, CredentialRead> {
        self.optional(key)?.ok_or_else(|| {
            let add = advice::add_key(self.encoding, self.namespace, self.name, key);
            CredentialRead::Missing(format!(
                "{} has no key \"{key}\"; add it; to do so, run: {add}",
                self.what
            ))
        })
    }

    /// The value of a key that was asked for.
    fn optional(&mut self, key: &str) -> Result<Option<SecretString>, CredentialRead> {
        let Some(at) = self.values.iter().position(|(wanted, _)| wanted.key == key) else { return Ok(None) };
        let (Wanted { bytes_max, .. }, value) = self.values.swap_remove(at);
        let invalid = |why: String| {
            Err(CredentialRead::Invalid(format!("the value of key \"{key}\" of {} {why}", self.what)))
        };
        match value {
            Value::Absent => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            Value::TooLarge => {
                invalid(format!("is longer than {bytes_max} bytes: write under it what is asked for, alone"))
            }
            Value::NoText => {
                invalid("is no UTF-8 text: write under it what is asked for, as text".to_owned())
            }
        }
    }
}

/// Certificates are public.
fn exposed(value: &SecretString) -> String {
    value.expose_secret().to_owned()
}
