//! TLS to JVMs, as a JVM profile asks for it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::Failure;

/// Whom to trust.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    digest: [u8; 32],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts what the certificates in a PEM text have signed, or are.
    ///
    /// # Errors
    /// There is none in it, or one cannot be read.
    pub fn trusting(pem: &[u8]) -> Result<Self, String> {
        let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|cause| cause.to_string())?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".into());
        }
        Self::of(certificates)
    }

    /// Trusts what this host's own store of certificates does.
    ///
    /// # Errors
    /// There is no store.
    pub fn system() -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            return Err("this host has no store of trusted certificates; name a ca_file".into());
        }
        Self::of(found.certs)
    }

    /// Trusts nobody: for connections that are not encrypted.
    pub(super) fn nobody() -> Result<ClientConfig, String> {
        configured(RootCertStore::empty())
    }

    fn of(certificates: Vec<CertificateDer<'_>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut hash = Sha256::new();
        for certificate in &certificates {
            hash.update(certificate);
        }
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err("no certificate in it can be used".into());
        }
        let config = configured(roots)?;
        Ok(Self {
            config: Arc::new(config),
            digest: hash.finalize().into(),
        })
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// As [`Tls::trusting`], and the file cannot be read.
    pub fn from_file(file: &Path) -> Result<Self, String> {
        let pem = std::fs::read(file).map_err(|cause| cause.to_string())?;
        Self::trusting(&pem)
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(super) fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        place: &str,
        socket: TcpStream,
    ) -> Result<Box<TlsStream<TcpStream>>, Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Refused(format!("\"{host}\" is no name for a certificate")))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        match connector.connect(name, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(cause) => Err(failed(place, host, &cause)),
        }
    }
}

fn configured(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| cause.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn failed(place: &str, host: &str, cause: &std::io::Error) -> Failure {
    let inner = cause.get_ref();
    let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        // A JVM that expects plain RMI closes the connection on what it does not understand.
        return Failure::NotTls(format!(
            "{place} closed the connection: it does not speak TLS"
        ));
    };
    Failure::Refused(match error {
        rustls::Error::InvalidMessage(_) => {
            return Failure::NotTls(format!("{place} answered, but it does not speak TLS"));
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => format!(
            "the certificate of {place} is not trusted: the certificates in the profile's ca_file did not sign it"
        ),
        rustls::Error::InvalidCertificate(CertificateError::NotValidForName)
        | rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            format!("the certificate of {place} is not for the name {host}: {error}")
        }
        other => format!("TLS with {place} failed: {other}"),
    })
}
