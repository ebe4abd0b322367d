//! The web server's settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::source::Source;

/// Where and how the web server listens.
#[derive(Debug, Clone)]
pub struct Http {
    /// `HEADROOM_LISTEN`, default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `HEADROOM_TLS_CERT` and `HEADROOM_TLS_KEY`; none = plain HTTP.
    pub tls: Option<Tls>,
    /// `HEADROOM_TRUSTED_PROXIES`: addresses whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// `HEADROOM_METRICS_OPEN`: `/metrics` without a token.
    pub metrics_open: bool,
}

/// PEM files of the server's certificate chain and key.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl Http {
    pub(super) fn from_source(source: &mut Source) -> Self {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let http = Self {
            listen: source
                .parsed("listen", "an address and port such as 127.0.0.1:8080")
                .unwrap_or(default),
            tls: tls(source),
            trusted_proxies: proxies(source),
            metrics_open: source.switch("metrics_open").unwrap_or(false),
        };
        let insecure = source.switch("insecure").unwrap_or(false);
        if !http.is_loopback() && http.tls.is_none() && http.trusted_proxies.is_empty() && !insecure
        {
            source.fault(
                "listen",
                "listening beyond loopback without TLS would send passwords in clear: set HEADROOM_TLS_CERT and HEADROOM_TLS_KEY, \
                 or HEADROOM_TRUSTED_PROXIES when a proxy in front speaks TLS, or HEADROOM_INSECURE=true to accept it",
            );
        }
        http
    }

    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }
}

fn tls(source: &mut Source) -> Option<Tls> {
    match (source.text("tls_cert"), source.text("tls_key")) {
        (Some(cert), Some(key)) => Some(Tls {
            cert: cert.into(),
            key: key.into(),
        }),
        (None, None) => None,
        (Some(_), None) => {
            source.fault("tls_key", "is missing: a certificate needs its key");
            None
        }
        (None, Some(_)) => {
            source.fault("tls_cert", "is missing: a key needs its certificate");
            None
        }
    }
}

fn proxies(source: &mut Source) -> Vec<IpAddr> {
    let text = source.text("trusted_proxies").unwrap_or_default();
    let mut addresses = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        match item.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => source.fault(
                "trusted_proxies",
                format!("\"{item}\" is not an IP address"),
            ),
        }
    }
    addresses
}
