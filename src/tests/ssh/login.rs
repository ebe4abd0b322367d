use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use headroom::clients::ssh::{Host, Identity, Login, Options, Trust};
use secrecy::SecretString;
use tempfile::TempDir;

use super::{Lab, SECOND};
use crate::support::sshd::{Sshd, USER};
use crate::support::wait;

fn keygen(args: &[&str]) {
    let made = Command::new("ssh-keygen")
        .arg("-q")
        .args(args)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn host_as(sshd: &Sshd, identity: Identity) -> Host {
    Host {
        address: "127.0.0.1".into(),
        port: sshd.port(),
        login: Arc::new(Login::with(USER, identity, Trust::FirstUse, None)),
    }
}

fn key(text: &str, passphrase: Option<&str>, certificate: Option<String>) -> Identity {
    Identity::Key {
        key: SecretString::from(text),
        passphrase: passphrase.map(SecretString::from),
        certificate,
    }
}

/// The private key that may log in, encrypted with a passphrase.
pub(super) fn encrypted(sshd: &Sshd, passphrase: &str) -> String {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    std::fs::copy(sshd.key_file(), &file).unwrap();
    keygen(&[
        "-p",
        // It takes a while to open.
        "-a",
        "40",
        "-P",
        "",
        "-N",
        passphrase,
        "-f",
        file.to_str().unwrap(),
    ]);
    std::fs::read_to_string(&file).unwrap()
}

#[tokio::test]
async fn an_encrypted_key_needs_its_passphrase() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let text = encrypted(&sshd, "open sesame");
    let right = host_as(&sshd, key(&text, Some("open sesame"), None));
    assert_eq!(lab.word(&right, "echo in").await, "in");
    for wrong in [None, Some("open barley")] {
        let refusal = lab.refusal(&host_as(&sshd, key(&text, wrong, None))).await;
        assert!(
            refusal.contains("the private key could not be used"),
            "{refusal}"
        );
        assert!(refusal.contains("passphrase"), "{refusal}");
        assert!(!refusal.contains("barley"), "{refusal}");
    }
}

#[tokio::test]
async fn a_certificate_logs_in_where_no_key_is_authorized() {
    let folder = TempDir::with_prefix("headroom-ca-").unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    keygen(&["-t", "ed25519", "-N", "", "-f", &place("ca")]);
    keygen(&["-t", "ed25519", "-N", "", "-f", &place("key")]);
    keygen(&[
        "-s",
        &place("ca"),
        "-I",
        "headroom",
        "-n",
        USER,
        &place("key.pub"),
    ]);
    let settings = format!(
        "TrustedUserCAKeys {}\nAuthorizedKeysFile none",
        place("ca.pub")
    );
    let sshd = Sshd::start_with(1, &settings);
    let lab = Lab::new();
    let text = std::fs::read_to_string(place("key")).unwrap();
    let certificate = std::fs::read_to_string(place("key-cert.pub")).unwrap();
    let with = host_as(&sshd, key(&text, None, Some(certificate)));
    assert_eq!(lab.word(&with, "echo in").await, "in");
    let refusal = lab.refusal(&host_as(&sshd, key(&text, None, None))).await;
    assert!(
        refusal.starts_with("the server refused the key of the profile"),
        "{refusal}"
    );
}

/// An ssh-agent with one key.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(folder: &Path, key: &Path) -> Self {
        let socket = folder.join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait::until("the agent's socket", 10 * SECOND, || {
            socket.exists().then_some(())
        });
        let added = Command::new("ssh-add")
            .arg(key)
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap();
        assert!(added.status.success(), "{added:?}");
        Self { child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn the_keys_of_an_agent_log_in() {
    let sshd = Sshd::start(1);
    let folder = TempDir::new().unwrap();
    let agent = Agent::start(folder.path(), &sshd.key_file());
    // The agent is found by the environment, which a process only gets at its start.
    let run = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "ssh::login::with_the_agent_of_the_environment",
        ])
        .env("SSH_AUTH_SOCK", &agent.socket)
        .env("HEADROOM_TEST_PORT", sshd.port().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

/// An agent that lists a key, or not even that, and answers nothing else.
fn hung_agent(folder: &Path, key: Option<Vec<u8>>) -> PathBuf {
    let socket = folder.join("hung");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, key) = (stream.unwrap(), key.clone());
            std::thread::spawn(move || {
                let mut request = [0; 5];
                while stream.read_exact(&mut request).is_ok() {
                    let (Some(key), [0, 0, 0, 1, 11]) = (&key, request) else {
                        continue;
                    };
                    let text = |bytes: &[u8]| {
                        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
                        [&length, bytes].concat()
                    };
                    let list = [&[12, 0, 0, 0, 1][..], &text(key), &text(b"hung")].concat();
                    stream.write_all(&text(&list)).unwrap();
                }
            });
        }
    });
    socket
}

#[tokio::test]
async fn an_agent_that_hangs_keeps_no_login_with_a_key_waiting() {
    let sshd = Sshd::start(16);
    let public = sshd.public_key();
    let blob = STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap();
    let cases = [
        (
            None,
            "the ssh-agent cannot be used: it does not answer; SSH_AUTH_SOCK must name its socket",
        ),
        (
            Some(blob),
            "no connection: the ssh-agent, which may wait for a person, and the server did not finish the login within 10 s",
        ),
    ];
    for (key, expected) in cases {
        let folder = TempDir::new().unwrap();
        let agent = hung_agent(folder.path(), key);
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "ssh::login::beside_a_hung_agent"])
            .env("SSH_AUTH_SOCK", &agent)
            .env("HEADROOM_TEST_PORT", sshd.port().to_string())
            .env("HEADROOM_TEST_KEY", sshd.key())
            .env("HEADROOM_TEST_EXPECTED", expected)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[tokio::test]
#[ignore = "run by an_agent_that_hangs_keeps_no_login_with_a_key_waiting"]
async fn beside_a_hung_agent() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let port = variable("HEADROOM_TEST_PORT").parse().unwrap();
    let lab = Lab::with(Options {
        handshakes: 4,
        ..Options::default()
    });
    let host = |last: u8, identity: Identity| Host {
        address: format!("127.0.0.{last}"),
        port,
        login: Arc::new(Login::with(USER, identity, Trust::FirstUse, None)),
    };
    let hung: Vec<Host> = (1..=15).map(|last| host(last, Identity::Agent)).collect();
    let refusals = join_all(hung.iter().map(|host| lab.refusal(host)));
    let good = async {
        tokio::time::sleep(SECOND / 2).await;
        let started = Instant::now();
        let good = host(16, key(&variable("HEADROOM_TEST_KEY"), None, None));
        assert_eq!(lab.word(&good, "echo in").await, "in");
        started.elapsed()
    };
    let (refusals, took) = tokio::join!(refusals, good);
    assert!(took < SECOND, "{took:?}");
    for refusal in refusals {
        assert_eq!(refusal, variable("HEADROOM_TEST_EXPECTED"));
    }
}

#[tokio::test]
#[ignore = "run by the_keys_of_an_agent_log_in"]
async fn with_the_agent_of_the_environment() {
    let port = std::env::var("HEADROOM_TEST_PORT")
        .unwrap()
        .parse()
        .unwrap();
    let host = Host {
        address: "127.0.0.1".into(),
        port,
        login: Arc::new(Login::with(USER, Identity::Agent, Trust::FirstUse, None)),
    };
    assert_eq!(Lab::new().word(&host, "echo in").await, "in");
}
