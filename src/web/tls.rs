//! The server's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;
use crate::error::{Error, Result};

/// Reads certificate and key: TLS 1.2 and 1.3, no client certificates.
///
/// # Errors
/// A file cannot be read or holds something else, or key and certificate do not belong together.
pub fn server_config(tls: &Tls) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|cause| fault("HEADROOM_TLS_CERT", &tls.cert, &cause))?;
    if chain.is_empty() {
        return Err(fault(
            "HEADROOM_TLS_CERT",
            &tls.cert,
            &"it holds no certificate",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|cause| fault("HEADROOM_TLS_KEY", &tls.key, &cause))?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::internal("could not set up TLS", cause))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|cause| fault("HEADROOM_TLS_KEY", &tls.key, &cause))
}

fn fault(setting: &str, file: &Path, cause: &dyn std::fmt::Display) -> Error {
    let file = file.display();
    Error::invalid(
        setting,
        format!("{file} cannot be used: {cause}; it must be PEM and readable by Headroom"),
    )
}
