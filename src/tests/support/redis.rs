//! A Redis server of a test's own, which can also be killed, frozen and started again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::ports;

/// How many free ports are tried, should another process be quicker.
const ATTEMPTS: usize = 5;

/// A running server; stopped when dropped.
pub struct RedisServer {
    server: Child,
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more settings, as on the command line: `["--requirepass", "secret"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = TempDir::with_prefix("headroom-redis-").unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (port, server) = (0..ATTEMPTS)
            .find_map(|_| {
                let port = ports::free();
                Some((port, spawn(&folder, port, &arguments)?))
            })
            .expect("redis-server did not start on any port");
        Self {
            server,
            port,
            arguments,
            folder,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A plain connection for looking at what is there.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .unwrap()
            .get_connection()
            .unwrap()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again on the same port, empty.
    pub fn start_again(&mut self) {
        self.server = spawn(&self.folder, self.port, &self.arguments)
            .expect("redis-server did not start again on its port");
    }

    /// It stays connected and answers nothing, until thawed.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.server.id()).unwrap()),
            signal,
        )
        .unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have been killed by the test.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// The server once it accepts connections; none if it ended before.
fn spawn(folder: &TempDir, port: u16, arguments: &[String]) -> Option<Child> {
    let mut server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("no redis-server: run `scripts/setup test` once");
    let mut log = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        if line.contains("Ready to accept connections") {
            // Someone has to go on reading, or the server would block on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Some(server);
        }
        line.clear();
    }
    server.wait().unwrap();
    None
}
