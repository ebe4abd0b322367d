//! Commands on Headroom's own host: an argument vector without a shell, or the operator's own script through `/bin/sh -c`.
//!
//! A command runs in a process group of its own with nothing of Headroom's environment but [`INHERITED`]: Headroom's secrets stand in its
//! environment. At its time limit the whole group is asked to end, then killed. A guarded one also ends when Headroom is killed.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

use crate::clients::group::{Group, Guard};
use crate::clients::output::{ExecOutput, Exit, Kept};
use crate::error::{Error, Result};

/// All that a command sees of Headroom's own environment.
pub const INHERITED: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(2);
/// How long output is awaited from what a finished command left running in the background.
const LINGER: Duration = Duration::from_millis(200);

/// A command to run here.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Vec<u8>,
    time_limit: Duration,
    max_output: usize,
    guarded: bool,
}

impl Command {
    /// A program with its arguments; no shell reads them.
    pub fn new(program: impl AsRef<OsStr>, args: &[impl AsRef<OsStr>]) -> Self {
        let env = INHERITED
            .iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
            .collect();
        Self {
            program: program.as_ref().to_owned(),
            args: args.iter().map(|arg| arg.as_ref().to_owned()).collect(),
            env,
            dir: None,
            stdin: Vec::new(),
            time_limit: Duration::from_secs(60),
            max_output: 64 * 1024,
            guarded: false,
        }
    }

    /// Sets a variable of the command's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value));
        self
    }

    /// Sets the folder it runs in; by default Headroom's own.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives it something to read; by default nothing.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets the time after which it is stopped; by default a minute.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how much is kept of each of its streams; by default 64 KiB.
    #[must_use]
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// Has it killed when Headroom is: what goes on with the work after a crash must not find it still at work.
    #[must_use]
    pub const fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// Runs it to its end or its time limit. Dropping the future kills its process group.
    ///
    /// # Errors
    /// It could not be started. That it failed is no error but an [`Exit`].
    pub async fn run(self) -> Result<ExecOutput> {
        let started = Instant::now();
        let guard = self.guarded.then(Guard::start).transpose()?;
        let mut child = self.spawn(guard.as_ref().map_or(0, Guard::id))?;
        let group = Group::of(&child, guard);
        let stdin = child.stdin.take();
        let mut stdout = Kept::new(self.max_output);
        let mut stderr = Kept::new(self.max_output);
        let streams = (child.stdout.take(), child.stderr.take());
        let talk = async {
            let feed = async {
                if let Some(mut pipe) = stdin {
                    // A command that does not read its input is not at fault.
                    let fed = pipe.write_all(&self.stdin).await;
                    tracing::trace!(?fed, "standard input of a command");
                }
            };
            tokio::join!(
                feed,
                keep(streams.0, &mut stdout),
                keep(streams.1, &mut stderr)
            );
        };
        let status = finish(&mut child, group, talk, self.time_limit).await?;
        Ok(ExecOutput {
            status,
            truncated: stdout.truncated() || stderr.truncated(),
            stdout: stdout.into_bytes(),
            stderr: stderr.into_bytes(),
            took: started.elapsed(),
        })
    }

    fn spawn(&self, group: i32) -> Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(if self.stdin.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(group);
        if !self.env.iter().any(|(name, _)| name == "PATH") {
            command.env("PATH", DEFAULT_PATH);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.spawn().map_err(|cause| Error::Upstream {
            what: format!("could not start {}: {cause}", self.program.display()),
            retryable: false,
        })
    }
}

/// Runs the operator's own script through `/bin/sh -c`, with nothing to read.
///
/// # Errors
/// The shell could not be started.
pub async fn run_script(
    script: &str,
    time_limit: Duration,
    max_output: usize,
) -> Result<ExecOutput> {
    Command::new("/bin/sh", &["-c", script])
        .time_limit(time_limit)
        .max_output(max_output)
        .run()
        .await
}

/// Waits for the command and its streams, and stops it at its limit.
async fn finish(
    child: &mut Child,
    group: Group,
    talk: impl Future<Output = ()>,
    limit: Duration,
) -> Result<Exit> {
    let mut talk = std::pin::pin!(talk);
    let mut talked = false;
    let ended = timeout(limit, async {
        loop {
            tokio::select! {
                () = &mut talk, if !talked => talked = true,
                status = child.wait() => return status,
            }
        }
    })
    .await;
    let (status, stopped) = match ended {
        Ok(status) => (status, false),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            if let Ok(status) = timeout(GRACE, child.wait()).await {
                (status, true)
            } else {
                group.signal(Signal::SIGKILL);
                (child.wait().await, true)
            }
        }
    };
    if stopped {
        // What ignored the request, or was started since, goes too.
        group.signal(Signal::SIGKILL);
    }
    group.release().await;
    if !talked && timeout(LINGER, talk).await.is_err() {
        tracing::debug!("a finished command left something behind that holds its output open");
    }
    let status = status.map_err(|cause| Error::internal("could not wait for a command", cause))?;
    Ok(if stopped {
        Exit::Stopped { confirmed: true }
    } else {
        exit(status)
    })
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(
            signal
                .and_then(|number| Signal::try_from(number).ok())
                .map_or_else(
                    || "unknown".into(),
                    |signal| signal.as_str().trim_start_matches("SIG").into(),
                ),
        ),
    }
}

async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &mut Kept) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0_u8; 8192];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.push(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn alive(pid: i32) -> bool {
        // A zombie that nobody has reaped yet is as good as gone.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            !stat
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .starts_with('Z')
        })
    }

    async fn gone(pid: i32) -> bool {
        for _ in 0..100 {
            if !alive(pid) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    #[tokio::test]
    async fn arguments_reach_the_program_without_a_shell_reading_them() {
        let output = Command::new("/bin/echo", &["$HOME; 'a' `b` \\", "*"])
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout_text(), "$HOME; 'a' `b` \\ *\n");
        assert_eq!(output.status, Exit::Status(0));
    }

    #[tokio::test]
    async fn a_script_reports_its_status_and_both_streams() {
        let output = run_script("echo out; echo err >&2; exit 3", 5 * SECOND, 100)
            .await
            .unwrap();
        assert_eq!(output.status, Exit::Status(3));
        assert!(!output.success());
        assert_eq!(output.stdout_text(), "out\n");
        assert_eq!(output.stderr_text(), "err\n");
        assert!(!output.truncated);
    }

    #[tokio::test]
    async fn a_script_sees_no_variable_but_the_inherited_ones() {
        let output = run_script("env", 5 * SECOND, 10_000).await.unwrap();
        for line in output.stdout_text().lines() {
            let name = line.split('=').next().unwrap();
            // A shell sets these itself.
            let own = ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name);
            assert!(own || INHERITED.contains(&name), "{line}");
        }
    }

    #[tokio::test]
    async fn a_set_variable_and_the_input_reach_the_command() {
        let output = Command::new("/bin/sh", &["-c", "cat; echo $GIVEN"])
            .env("GIVEN", "one")
            .env("GIVEN", "two")
            .stdin("in\n")
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout_text(), "in\ntwo\n");
    }

    #[tokio::test]
    async fn a_command_that_ignores_a_large_input_is_not_at_fault() {
        let output = Command::new("/bin/true", &[] as &[&str])
            .stdin(vec![b'x'; 1 << 20])
            .run()
            .await
            .unwrap();
        assert_eq!(output.status, Exit::Status(0));
    }

    #[tokio::test]
    async fn long_output_is_cut_and_said_to_be() {
        let output = run_script("head -c 1000000 /dev/zero", 5 * SECOND, 1000)
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), 1000);
        assert!(output.truncated);
        assert_eq!(
            output.status,
            Exit::Status(0),
            "the rest is read and dropped, so that the writer ends by itself"
        );
    }

    #[tokio::test]
    async fn at_the_time_limit_the_command_and_its_children_are_stopped() {
        let output = run_script(
            "sleep 60 & echo $!; sleep 60",
            Duration::from_millis(300),
            100,
        )
        .await
        .unwrap();
        assert_eq!(output.status, Exit::Stopped { confirmed: true });
        assert!(output.took < GRACE, "a request to end was enough");
        let child: i32 = output.stdout_text().trim().parse().unwrap();
        assert!(gone(child).await, "the background child was left running");
    }

    #[tokio::test]
    async fn a_command_that_ignores_the_request_to_end_is_killed() {
        let script = "trap '' TERM; while :; do sleep 60; done";
        let output = run_script(script, Duration::from_millis(200), 100)
            .await
            .unwrap();
        assert_eq!(output.status, Exit::Stopped { confirmed: true });
        assert!(output.took >= GRACE && output.took < GRACE + 3 * SECOND);
    }

    #[tokio::test]
    async fn dropping_a_run_kills_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; sleep 60",
            file.display()
        );
        let run = tokio::spawn(async move { run_script(&script, 60 * SECOND, 100).await });
        let pid: i32 = loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                break text.trim().parse().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        run.abort();
        assert!(gone(pid).await);
    }

    #[tokio::test]
    async fn a_guarded_command_ends_as_any_other_and_so_does_its_guard() {
        let script = "ps -o pgid= -p $$; sleep 60 & echo $!";
        let command = Command::new("/bin/sh", &["-c", script]).guarded();
        let output = command.run().await.unwrap();
        let said = output.stdout_text();
        let mut numbers = said.split_whitespace().map(|word| word.parse().unwrap());
        let (guard, left): (i32, i32) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert!(!alive(guard), "the guard has ended");
        assert!(alive(left), "what it left behind is its own business");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), Signal::SIGKILL).unwrap();

        let late = Command::new("/bin/sh", &["-c", "echo $$; sleep 60"]).guarded();
        let output = late.time_limit(Duration::from_millis(300)).run();
        let output = output.await.unwrap();
        assert_eq!(output.status, Exit::Stopped { confirmed: true });
        let stopped = output.stdout_text().trim().parse().unwrap();
        assert!(gone(stopped).await);
    }

    #[tokio::test]
    async fn a_background_child_that_holds_the_output_does_not_delay_the_end() {
        let output = run_script("sleep 5 & echo 7", 10 * SECOND, 100)
            .await
            .unwrap();
        assert_eq!(output.status, Exit::Status(0));
        assert_eq!(output.stdout_text(), "7\n");
        assert!(output.took < 4 * SECOND);
    }

    #[tokio::test]
    async fn a_signal_is_named_and_a_missing_program_is_an_error() {
        let output = run_script("kill -9 $$", 5 * SECOND, 100).await.unwrap();
        assert_eq!(output.status, Exit::Signal("KILL".into()));
        let error = Command::new("/no/such/program", &[] as &[&str])
            .run()
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("could not start /no/such/program: "),
            "{error}"
        );
    }
}
