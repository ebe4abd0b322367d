//! A real mail server of a test's own: aiosmtpd, with STARTTLS or TLS and AUTH.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::tools;

const SERVER: &str = include_str!("smtp.py");

/// How the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Without TLS, to anybody.
    Plain,
    /// TLS after STARTTLS, and only to `user` with `pa:ss@word`.
    StartTls,
    /// TLS from the beginning, and only to `user` with `pa:ss@word`.
    Tls,
    /// Takes connections and says nothing.
    Silent,
}

/// A running server; stopped when dropped.
pub struct Smtp {
    server: Child,
    port: u16,
    folder: TempDir,
}

impl Smtp {
    /// Starts a server and waits until it listens.
    pub fn start(mode: Mode) -> Self {
        Self::start_on(0, mode)
    }

    /// As [`Smtp::start`], on a port; 0 = a free one.
    pub fn start_on(port: u16, mode: Mode) -> Self {
        let folder = TempDir::with_prefix("headroom-smtp-").unwrap();
        certificate(folder.path());
        let mut server = Command::new(tools::python())
            .args(["-c", SERVER, &format!("{mode:?}"), &port.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().expect("the mail server says its port");
        Self {
            server,
            port,
            folder,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The recipients that were asked about, in order.
    pub fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What was delivered, in order: `{"from", "to", "subject", "id", "auto", "text", "headers_to"}`.
    pub fn mailbox(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("mailbox")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn certificate(folder: &Path) {
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
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}
