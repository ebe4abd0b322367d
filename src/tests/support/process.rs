//! The real binary with a data folder of its own, driven by its command line and its API.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, Request};
use super::{ports, wait};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(70);

/// A Headroom that may be served, killed and served again over the same data.
pub struct Headroom {
    folder: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    served: Option<Child>,
    token: Option<String>,
    files: Option<u64>,
}

impl Headroom {
    /// A data folder and a free port; nothing runs yet. `settings` are environment variables.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("headroom-process-").unwrap();
        let port = ports::free();
        let mut all = vec![
            (
                "HEADROOM_DATA".to_owned(),
                folder.path().join("data").display().to_string(),
            ),
            ("HEADROOM_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            (
                "HEADROOM_LOG".to_owned(),
                "info,headroom::web=warn".to_owned(),
            ),
        ];
        all.extend(
            settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        Self {
            folder,
            port,
            settings: all,
            served: None,
            token: None,
            files: None,
        }
    }

    /// Lets the commands from now on have so many files open.
    pub fn allow_files(&mut self, count: u64) {
        self.files = Some(count);
    }

    /// Changes a setting for the commands from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// A file in the temp folder, for the test's own use.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the served process wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_headroom");
        let mut command = match self.files {
            Some(count) => {
                // It becomes the command: the process id stays.
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={count}:{count}")).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, whatever it answers.
    pub fn call(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a command; the caller waits for its end.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn say(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "headroom {arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Applies a fleet file.
    pub fn apply(&self, fleet: &str) {
        let file = self.file("fleet.yaml");
        fs::write(&file, fleet).unwrap();
        self.say(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// Starts `headroom serve` and waits until all it depends on answers.
    pub fn serve(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .unwrap();
        let mut command = self.command(&["serve", "--no-example"]);
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.served = Some(child);
        wait::until("headroom to serve", START_LIMIT, || {
            let ended = self.served.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "headroom ended at once ({ended:?}):\n{}",
                self.log()
            );
            TcpStream::connect(self.address()).ok()?;
            (self.ready().status == 200).then_some(())
        });
        if self.token.is_none() {
            let name = format!("test-{}", self.port);
            let printed = self.say(&["token", "create", "--role", "admin", "--name", &name]);
            self.token = Some(printed.trim().to_owned());
        }
    }

    /// `kill -9`: no handler runs, nothing is written any more.
    pub fn kill(&mut self) {
        let mut child = self.served.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `SIGSTOP`: it stands still, as on a machine that sleeps.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Headroom::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.served.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// `SIGTERM`, and the wait for a clean end.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.served.take().unwrap();
        let ended = wait::until("headroom to stop", STOP_LIMIT, || child.try_wait().unwrap());
        assert!(
            ended.success(),
            "headroom ended with {ended:?}:\n{}",
            self.log()
        );
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What a watcher is told.
    pub fn ready(&self) -> Answer {
        send(Request::new("GET", "/readyz"), self.address())
    }

    /// Asks the API.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.api(Request::new("GET", &format!("/api/v1{path}")));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    /// Changes something by the API; any 2xx is well.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.api(Request::new("POST", &format!("/api/v1{path}")).json(body));
        assert!(
            (200..300).contains(&answer.status),
            "POST {path}: {} {}",
            answer.status,
            answer.body
        );
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// Logs a person in through the form; gives the cookie for [`Headroom::page`].
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "used by the recipe, which launches")
    )]
    pub fn login(&self, name: &str, password: &str) -> String {
        let form = Request::new("POST", "/login")
            .header("sec-fetch-site", "same-origin")
            .form(&[("name", name), ("password", password), ("next", "/")]);
        let answer = send(form, self.address()).expect(303);
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        cookie.to_owned()
    }

    /// What a page says, without its tags, as a person reads it.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "used by the recipe, which launches")
    )]
    pub fn page(&self, cookie: &str, path: &str) -> String {
        let request = Request::new("GET", path).header("cookie", cookie);
        let html = send(request, self.address()).expect(200).body;
        let (_, main) = html.split_once("<main").unwrap();
        let mut text = String::new();
        for piece in main.split('<') {
            text.push_str(piece.split_once('>').map_or(piece, |(_, words)| words));
            text.push(' ');
        }
        let text = text.replace("&#34;", "\"").replace("&#39;", "'");
        let text = text.replace("&#60;", "<").replace("&#62;", ">");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Asks as the program that holds the token.
    pub fn api(&self, request: Request) -> Answer {
        let token = self.token.as_deref().unwrap();
        send(
            request.header("authorization", &format!("Bearer {token}")),
            self.address(),
        )
    }
}

fn send(request: Request, to: SocketAddr) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(request.send(to))
}

impl Drop for Headroom {
    fn drop(&mut self) {
        if let Some(child) = &mut self.served {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines = log
                .lines()
                .filter(|line| !line.contains(" request method="));
            eprintln!("--- what headroom wrote, requests left out:");
            lines.for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Replaces a file in one step, so that a script never reads half of it.
pub fn put(path: &Path, text: &str) {
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, path).unwrap();
}
