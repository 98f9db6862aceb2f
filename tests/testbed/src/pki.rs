//! A private certificate authority of one test's own.
//!
//! Sites run their gateway behind an authority no public root vouches for, some with certificates for clients too.
//! Made new each time with rcgen (of the rustls project, on the ring that is here already): committed keys would
//! expire, and would be found by every scanner for leaked secrets.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// rcgen refused, most likely a subject name that is neither a DNS name nor an address.
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
    /// rustls refused what rcgen made.
    #[error("failed to set up TLS")]
    SetUp(#[source] rustls::Error),
    /// The authority to trust is no PEM.
    #[error("failed to read the authority to trust; it must be PEM")]
    Read(#[source] pki_types::pem::Error),
    /// No verifier could be built for clients' certificates.
    #[error("failed to set up the check of client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its key, as PEM. `Debug` shows neither.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, signed by the authority.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

// === impl Authority ===

impl Authority {
    /// Makes an authority called `name`.
    pub fn new(name: &str) -> Result<Self, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(PkiError::Make)?;
        let certificate = params.self_signed(&key).map_err(PkiError::Make)?;
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Ok(Self { issuer: Issuer::new(params, key), certificate, pem })
    }

    /// The authority's own certificate, for those who shall trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server reached under `names` (DNS names or addresses).
    pub fn server(&self, names: &[String]) -> Result<Identity, PkiError> {
        let params = CertificateParams::new(names).map_err(PkiError::Make)?;
        self.sign(params, "server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client called `name`.
    pub fn client(&self, name: &str) -> Result<Identity, PkiError> {
        self.sign(CertificateParams::default(), name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a client called `name` in `group`, as Kubernetes reads the organization.
    pub fn client_in_group(&self, name: &str, group: &str) -> Result<Identity, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, group);
        self.sign(params, name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, PkiError> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(PkiError::Make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(PkiError::Make)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        })
    }

    /// TLS for a server that shows `identity`, asks clients for a certificate of this authority if
    /// `client_certificate`, and offers HTTP/2 if `http2`.
    pub(crate) fn server_config(
        &self,
        identity: &Identity,
        client_certificate: bool,
        http2: bool,
    ) -> Result<Arc<ServerConfig>, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(PkiError::SetUp)?;
        let builder = if client_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).map_err(PkiError::SetUp)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(PkiError::Verifier)?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
        let chain = vec![identity.certificate.clone()];
        let mut config = builder.with_single_cert(chain, key).map_err(PkiError::SetUp)?;
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(Arc::new(config))
    }
}

/// TLS for a client that trusts the authorities in `ca_pem` and nobody else.
pub(crate) fn client_config(ca_pem: Option<&str>) -> Result<ClientConfig, PkiError> {
    Ok(trusting(ca_pem)?.with_no_client_auth())
}

/// The same for a client that proves who it is by a certificate.
pub(crate) fn client_config_as(
    ca_pem: &str,
    certificate_pem: &str,
    key_pem: &str,
) -> Result<ClientConfig, PkiError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(PkiError::Read)?;
    trusting(Some(ca_pem))?
        .with_client_auth_cert(chain.map_err(PkiError::Read)?, key)
        .map_err(PkiError::SetUp)
}

fn trusting(ca_pem: Option<&str>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        roots.add(certificate.map_err(PkiError::Read)?).map_err(PkiError::SetUp)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(PkiError::SetUp)?;
    Ok(builder.with_root_certificates(roots))
}

// === impl Identity ===

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
