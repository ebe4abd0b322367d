//! One JSON-RPC call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::error::{Error, Result};

const ENDPOINT: &str = "api_jsonrpc.php";
/// A longer answer is not read: a site's whole configuration is a few ten MB.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

/// A server's endpoint.
pub(super) struct Wire {
    client: reqwest::Client,
    url: String,
}

/// Why a call failed.
pub(super) enum Fault {
    /// Nothing came back that could be read.
    Lost(String),
    /// The server refused: its code and its words.
    Refused(i64, String),
}

impl Fault {
    /// Whether the session was over before the call had any effect.
    pub fn is_ended_session(&self) -> bool {
        matches!(self, Self::Refused(_, text) if text.contains("re-login") || text.contains("Not authori"))
    }
}

impl Wire {
    /// Of the front end's address, or of the endpoint's.
    pub fn new(url: &str, ca_file: Option<&Path>, call_limit: Duration) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let url = if url.ends_with(ENDPOINT) {
            url.to_owned()
        } else {
            format!("{url}/{ENDPOINT}")
        };
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(call_limit)
            .tls_backend_preconfigured(tls(ca_file)?)
            .build()
            .map_err(|cause| Error::internal("no HTTP client", cause))?;
        Ok(Self { client, url })
    }

    /// Calls a method.
    pub async fn call(
        &self,
        method: &str,
        params: &Value,
        session: Option<&SecretString>,
        in_header: bool,
    ) -> Result<Value, Fault> {
        let mut body = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
        let mut request = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json-rpc");
        match session.map(SecretString::expose_secret) {
            Some(session) if in_header => request = request.bearer_auth(session),
            Some(session) => {
                if let Some(fields) = body.as_object_mut() {
                    fields.insert("auth".into(), session.into());
                }
            }
            None => {}
        }
        let answer = request
            .body(body.to_string())
            .send()
            .await
            .map_err(|cause| Fault::Lost(innermost(&cause)))?;
        let status = answer.status();
        if answer.content_length().is_some_and(|length| {
            usize::try_from(length).map_or(true, |length| length > MAX_ANSWER)
        }) {
            return Err(Fault::Lost("the answer is too long".into()));
        }
        let bytes = answer
            .bytes()
            .await
            .map_err(|cause| Fault::Lost(innermost(&cause)))?;
        let mut said: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Fault::Lost(format!(
                "it answered {status} and no JSON; is this the address of a Zabbix front end?"
            ))
        })?;
        if let Some(error) = said.get("error") {
            let word = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
            let code = error
                .get("code")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            return Err(Fault::Refused(
                code,
                format!("{} {}", word("message"), word("data"))
                    .trim()
                    .to_owned(),
            ));
        }
        said.get_mut("result")
            .map(Value::take)
            .ok_or_else(|| Fault::Lost(format!("it answered {status} without a result")))
    }

    /// A fault in a sentence; never with the parameters, in which secrets may stand.
    pub fn error(&self, method: &str, fault: &Fault) -> Error {
        let (why, retryable) = match fault {
            Fault::Lost(why) => (why.clone(), true),
            Fault::Refused(code, why) => (format!("{why} ({code})"), false),
        };
        Error::Upstream {
            what: format!("Zabbix at {}: {method}: {why}", self.url),
            retryable,
        }
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // A system without any certificate still speaks to a server whose own is named.
    let (added, ignored) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(added, ignored, "certificates of the system");
    if let Some(path) = ca_file {
        let place = path.display();
        let unusable =
            |cause: String| Error::invalid("HEADROOM_ZABBIX_CA_FILE", format!("{place}: {cause}"));
        let found =
            CertificateDer::pem_file_iter(path).map_err(|cause| unusable(cause.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|cause| unusable(cause.to_string()))?;
            roots
                .add(certificate)
                .map_err(|cause| unusable(cause.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::internal("TLS", cause))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The innermost cause says it in plain words; those around it name the address again.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
