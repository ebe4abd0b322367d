//! Served over TLS, as somebody without a proxy in front does it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use headroom::app::App;
use headroom::config::{Config, Source};
use headroom::web::Web;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::support::app::TestApp;

/// A certificate of `localhost` that trusts itself.
fn certificate(folder: &Path) -> (String, String) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    (cert.to_str().unwrap().into(), key.to_str().unwrap().into())
}

fn ask(address: SocketAddr, roots: RootCertStore) -> std::io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test]
async fn the_pages_are_served_over_tls_with_the_certificate_of_the_settings() {
    let folder = TempDir::with_prefix("headroom-tls-").unwrap();
    let (cert, key) = certificate(folder.path());
    let test = TestApp::with(&[("tls_cert", &cert), ("tls_key", &key)]).await;
    let address = test.address;

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&cert).unwrap())
        .unwrap();
    let answer = tokio::task::spawn_blocking(move || ask(address, roots))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("<title>"), "{answer}");

    let strangers = tokio::task::spawn_blocking(move || ask(address, RootCertStore::empty()))
        .await
        .unwrap();
    let refusal = strangers.unwrap_err().to_string();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");

    let mut in_clear = TcpStream::connect(address).unwrap();
    in_clear
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    in_clear
        .write_all(b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut told = Vec::new();
    in_clear.read_to_end(&mut told).ok();
    assert!(!told.starts_with(b"HTTP"), "answered in clear: {told:?}");
}

#[tokio::test]
async fn a_key_of_another_certificate_stops_the_start_and_is_named() {
    let folder = TempDir::with_prefix("headroom-tls-").unwrap();
    let other = TempDir::with_prefix("headroom-tls-").unwrap();
    let ((cert, _), (_, key)) = (certificate(folder.path()), certificate(other.path()));
    let data = folder.path().join("data");
    let settings = [
        ("data", data.to_str().unwrap()),
        ("listen", "127.0.0.1:0"),
        ("tls_cert", &cert),
        ("tls_key", &key),
    ];
    let config = Config::from_source(Source::of(&settings)).unwrap();
    let app = App::open(config).await.unwrap();
    let refusal = Web::bind(&app).err().unwrap().to_string();
    assert!(
        refusal.contains("HEADROOM_TLS_KEY") && refusal.contains(&key),
        "{refusal}"
    );
}
