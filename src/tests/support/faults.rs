//! Stands between Headroom and an API, and lets calls fail in the ways in which calls fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is carried out, and the reply is lost.
    LoseReply,
    /// It does not arrive.
    LoseRequest,
    /// It is refused with a status and a code.
    Refuse(u16, &'static str),
    /// The answer lists nothing, as EC2's lists do of what is new.
    ListNothing,
    /// It takes longer.
    Delay(Duration),
}

/// Which of the calls to come.
#[derive(Debug, Clone)]
pub enum Call {
    /// Counted from 0.
    Nth(usize),
    /// The first one of an action.
    First(String),
}

impl Call {
    /// Whether it is this one; one is fewer to come then.
    fn is(&mut self, action: &str) -> bool {
        match self {
            Self::Nth(0) => true,
            Self::Nth(left) => {
                *left -= 1;
                false
            }
            Self::First(name) => name == action,
        }
    }
}

/// Kills a process at a call.
#[derive(Debug)]
struct Death {
    pid: Pid,
    at: Call,
    /// After it was carried out, or before.
    after: bool,
}

#[derive(Default)]
struct State {
    rules: Vec<(String, Fault, usize)>,
    calls: BTreeMap<String, usize>,
    /// The access key ids that an action was called with.
    signers: BTreeMap<String, BTreeSet<String>>,
    death: Option<Death>,
    /// What was called since a process was last to be killed.
    called: Vec<String>,
    /// What the process was doing when it was killed.
    killed_at: Option<String>,
    /// A process that is made to stand still (`SIGSTOP`) at the next call of an action; that call's reply waits for it.
    pause: Option<(Pid, &'static str)>,
}

/// A running proxy; ends with the test process.
#[derive(Clone)]
pub struct Faults {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Faults {
    /// Starts one in front of a loopback port.
    pub fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || {
                    // A client that goes away in the middle is no fault of the test's.
                    pass(stream, upstream, &state).ok();
                });
            }
        });
        Self { port, state }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets the next `times` calls of an action fail.
    pub fn inject(&self, action: &str, fault: Fault, times: usize) {
        self.state
            .lock()
            .unwrap()
            .rules
            .push((action.to_owned(), fault, times));
    }

    /// Lets everything through again.
    pub fn clear(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// How often an action was called.
    pub fn calls(&self, action: &str) -> usize {
        self.state
            .lock()
            .unwrap()
            .calls
            .get(action)
            .copied()
            .unwrap_or_default()
    }

    /// The access key ids that an action was called with, each once.
    pub fn signers(&self, action: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let signers = state.signers.get(action).cloned().unwrap_or_default();
        signers.into_iter().collect()
    }

    /// Kills a process (`kill -9`) at a call from now, before it is carried out or after.
    pub fn kill_at(&self, pid: u32, at: Call, after: bool) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        let mut state = self.state.lock().unwrap();
        state.death = Some(Death { pid, at, after });
        state.called.clear();
    }

    /// The actions that were called since a process was last to be killed.
    pub fn called(&self) -> Vec<String> {
        self.state.lock().unwrap().called.clone()
    }

    /// Makes a process stand still at the next call of an action; the call is carried out, or fails as a rule says.
    pub fn pause_at(&self, pid: Pid, action: &'static str) {
        self.state.lock().unwrap().pause = Some((pid, action));
    }

    /// Whether the process to be paused stands still.
    pub fn has_paused(&self) -> bool {
        self.state.lock().unwrap().pause.is_none()
    }

    /// The call at which the process was killed; nobody is killed any more.
    pub fn killed_at(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap();
        state.death = None;
        state.killed_at.take()
    }
}

impl State {
    /// Notes a call and who signed it; says what is to happen to it, and whether someone dies of it.
    fn meet(&mut self, action: &str, signer: &str) -> (Option<Fault>, Option<Death>) {
        *self.calls.entry(action.to_owned()).or_default() += 1;
        let signers = self.signers.entry(action.to_owned()).or_default();
        signers.insert(signer.to_owned());
        let rule = self
            .rules
            .iter_mut()
            .find(|(name, _, times)| name == action && *times > 0);
        let fault = rule.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        });
        self.called.push(action.to_owned());
        let death = self.death.take_if(|death| death.at.is(action));
        if let Some(death) = &death {
            let when = if death.after { "after" } else { "before" };
            self.killed_at = Some(format!("{when} {action}"));
        }
        if let Some((pid, _)) = self.pause.take_if(|(_, at)| *at == action) {
            stand_still(pid);
        }
        (fault, death)
    }
}

/// Makes a process stand still, but not in the middle of a write: it would keep the file of the database from all others.
fn stand_still(pid: Pid) {
    loop {
        kill(pid, Signal::SIGSTOP).unwrap();
        while !is_stopped(pid) {
            thread::yield_now();
        }
        if !is_writing(pid) {
            return;
        }
        kill(pid, Signal::SIGCONT).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, state) = stat.rsplit_once(") ").unwrap();
    state.starts_with('T')
}

/// Whether it holds a lock as SQLite's writers do.
fn is_writing(pid: Pid) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let pid = pid.to_string();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.contains(&"POSIX") && words.contains(&"WRITE") && words.contains(&pid.as_str())
    })
}

fn pass(mut client: TcpStream, upstream: u16, state: &Mutex<State>) -> std::io::Result<()> {
    let request = read_request(&mut client)?;
    let text = String::from_utf8_lossy(&request).into_owned();
    let action = text.rsplit("Action=").next().unwrap_or_default();
    let action = action
        .split('&')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let (fault, death) = state.lock().unwrap().meet(&action, signer(&text));
    if let Some(death) = death {
        let refused = matches!(fault, Some(Fault::Refuse(..) | Fault::LoseRequest));
        if death.after && !refused {
            forward(&request, upstream)?;
        }
        kill(death.pid, Signal::SIGKILL).ok();
        return client.shutdown(Shutdown::Both);
    }
    match fault {
        Some(Fault::LoseRequest) => client.shutdown(Shutdown::Both),
        Some(Fault::LoseReply) => {
            forward(&request, upstream)?;
            client.shutdown(Shutdown::Both)
        }
        Some(Fault::Refuse(status, code)) => {
            let body = refusal(&action, code);
            write!(
                client,
                "HTTP/1.1 {status} Injected\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Some(Fault::ListNothing) => {
            let body = format!(
                "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>0</requestId><reservationSet/></{action}Response>"
            );
            write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Some(Fault::Delay(time)) => {
            thread::sleep(time);
            client.write_all(&forward(&request, upstream)?)
        }
        None => client.write_all(&forward(&request, upstream)?),
    }
}

/// The access key id in the signature of a request; nothing where there is none.
fn signer(request: &str) -> &str {
    let (_, rest) = request.split_once("Credential=").unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

/// An error as the service writes it: EC2 has a shape of its own.
fn refusal(action: &str, code: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    if ["LoadBalancer", "Target", "AssumeRole"]
        .iter()
        .any(|it| action.contains(it))
    {
        format!("<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>")
    } else {
        format!("<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>")
    }
}

/// One request with its body, asking for the connection to be closed after the answer.
fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = client.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let mut lines = head.lines();
            let first = lines.next().unwrap_or_default();
            let others = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
            let head = others.fold(first.to_owned(), |head, line| format!("{head}\r\n{line}"));
            return Ok(format!("{head}\r\nConnection: close\r\n\r\n{body}").into_bytes());
        }
    }
}

fn forward(request: &[u8], upstream: u16) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.write_all(request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
