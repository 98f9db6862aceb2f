//! TLS as one gateway wants it: which servers its client trusts, and the certificate that it shows.

use std::sync::Arc;

use reqwest::{Certificate, Client, Identity};
use secrecy::{ExposeSecret, SecretString};

use super::address::{Guard, Resolver};
use super::credential_data::CredentialData;
use super::error::{ConnectError, invalid};
use super::http::client_builder;
use super::spec::CheckedSpec;
use crate::api;
use crate::text::chain;

/// The servers that a client trusts, and the certificate with its key that it shows them.
pub(super) struct TlsSetup {
    pub trust: Trust,
    pub identity: Option<(String, SecretString)>,
}

#[derive(Eq, PartialEq)]
pub(super) enum Trust {
    /// No server: there is no https URL. An image without CA certificates can still serve plain http.
    Nobody,
    System,
    Only(String),
}

// === impl TlsSetup ===

impl TlsSetup {
    /// The setup of these references, whose content was read.
    pub fn new(
        refs: Option<&api::Tls>,
        spec: &CheckedSpec<'_>,
        data: &CredentialData,
    ) -> Result<Self, ConnectError> {
        let trust = match (&data.ca_pem, refs.and_then(|tls| tls.ca_ref.as_ref())) {
            (Some(pem), _) => Trust::Only(pem.clone()),
            // The system's certificates instead would trust more servers than the spec asks for.
            (None, Some(_)) => return Err(invalid("spec.tls.caRef names no CA certificates")),
            (None, None) if spec.is_https() => Trust::System,
            (None, None) => Trust::Nobody,
        };
        let identity = match (&data.client_cert_pem, &data.client_key_pem) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) if refs.is_none_or(|tls| tls.client_certificate_ref.is_none()) => None,
            _ => return Err(invalid("spec.tls.clientCertificateRef needs both tls.crt and tls.key")),
        };
        Ok(Self { trust, identity })
    }

    /// Whether nothing in it is a gateway's own.
    pub fn is_common(&self) -> bool {
        matches!(self, Self { trust: Trust::System | Trust::Nobody, identity: None })
    }

    /// The bytes that there are to read. The arithmetic of a key takes longer than its length tells.
    pub fn size(&self) -> usize {
        const OF_A_KEY: usize = 16 * 1024;
        let trust = if let Trust::Only(pem) = &self.trust { pem.len() } else { 0 };
        let identity = self.identity.as_ref().map_or(0, |(certificate, _)| certificate.len() + OF_A_KEY);
        trust + identity
    }

    pub fn client(&self, guard: Arc<Guard>) -> Result<Client, ConnectError> {
        let mut builder = client_builder().dns_resolver(Arc::new(Resolver(guard)));
        match &self.trust {
            Trust::System => {}
            Trust::Nobody => builder = builder.tls_certs_only([]),
            Trust::Only(pem) => builder = builder.tls_certs_only(certificates(pem)?),
        }
        if let Some((certificate, key)) = &self.identity {
            let pem = SecretString::from(format!("{certificate}\n{}", key.expose_secret()));
            let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| {
                invalid("the client certificate (spec.tls.clientCertificateRef) must hold PEM in tls.crt and tls.key")
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| {
            let cause = chain(&error);
            match self.trust {
                Trust::System if self.identity.is_none() => invalid(format!(
                    "the operator's image has no usable CA certificates ({cause}): set spec.tls.caRef, or mount a \
                     bundle and name it in SSL_CERT_FILE"
                )),
                _ => invalid(format!("the certificates of spec.tls can't be used: {cause}")),
            }
        })
    }
}

// The key is compared byte by byte; a person who could time that holds the Secret already.
impl PartialEq for TlsSetup {
    fn eq(&self, other: &Self) -> bool {
        let keys = |(certificate, key): &(String, SecretString),
                    (other, other_key): &(String, SecretString)| {
            certificate == other && key.expose_secret() == other_key.expose_secret()
        };
        let identities = match (&self.identity, &other.identity) {
            (Some(one), Some(other)) => keys(one, other),
            (None, None) => true,
            _ => false,
        };
        self.trust == other.trust && identities
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, ConnectError> {
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(invalid("the CA certificates (spec.tls.caRef) must be one or more certificates in PEM")),
    }
}
