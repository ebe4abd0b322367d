use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::*;
use crate::clients::ssh::Known;
use crate::collectors::target::Source;
use crate::models::CounterId;

const LIMIT: Duration = Duration::from_secs(5);
const SHELLS: [&str; 2] = ["/bin/sh", "/bin/bash"];

/// A shell of this host, asked as one on a node is.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<Vec<u8>>,
    known: Known,
    asked: u32,
}

impl Shell {
    fn open(shell: &str) -> Self {
        let mut child = Command::new(shell)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1000];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        write!(stdin, "exec 3>&1 >/dev/null 2>&1\n_hp=\n{FUNCTIONS}").unwrap();
        Self {
            child,
            stdin,
            said,
            known: Known::default(),
            asked: 0,
        }
    }

    /// Asks and listens until the answer is complete, or the limit, and a little longer.
    fn ask(&mut self, scripts: &[&str]) -> Held {
        let (mut held, started) = self.ask_and_hurry(scripts, PATIENCE);
        while let Ok(bytes) = self.said.recv_timeout(Duration::from_millis(100)) {
            held.stdout(&bytes, started.elapsed());
        }
        held
    }

    /// Asks, says after a while that it takes too long, and listens until the answer is complete, or the limit.
    fn ask_and_hurry(&mut self, scripts: &[&str], after: Duration) -> (Held, Instant) {
        self.asked += 1;
        let mut held = held(&format!("5f0c2b7d{:08}", self.asked), scripts);
        let question = held.question(&mut self.known);
        let (_, hurry) = held.hurry();
        self.stdin.write_all(question.as_bytes()).unwrap();
        let started = Instant::now();
        let mut hurried = false;
        while held.progress() == Progress::Open && started.elapsed() < LIMIT {
            let left = after.saturating_sub(started.elapsed());
            let pause = if hurried { LIMIT } else { left };
            match self.said.recv_timeout(pause.min(Duration::from_millis(20))) {
                Ok(bytes) => held.stdout(&bytes, started.elapsed()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if started.elapsed() >= after && !hurried {
                // The shell may have been killed.
                drop(self.stdin.write_all(hurry.as_bytes()));
                hurried = true;
            }
        }
        (held, started)
    }

    fn read(&mut self, scripts: &[&str]) -> Vec<Result<f64, String>> {
        verdicts(&self.ask(scripts))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // A script may have ended it.
        let killed = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        assert!(matches!(killed, Ok(()) | Err(nix::errno::Errno::ESRCH)));
        self.child.wait().unwrap();
    }
}

fn held(token: &str, scripts: &[&str]) -> Held {
    let counter = |script: &&str| {
        Arc::new(CounterSpec {
            id: CounterId(1),
            name: "c".into(),
            timeout: LIMIT,
            every_secs: None,
            source: Source::Script((*script).to_owned()),
        })
    };
    Held::new(token.into(), scripts.iter().map(counter).collect())
}

fn verdicts(held: &Held) -> Vec<Result<f64, String>> {
    let heard = held.batch().heard();
    heard
        .map(|heard| heard.map_or(Err("missing".into()), |heard| heard.account.verdict()))
        .collect()
}

fn error(text: &str) -> Result<f64, String> {
    Err(text.into())
}

#[test]
fn a_script_that_could_tell_the_difference_has_a_shell_of_its_own() {
    let cases = [
        ("cut -d' ' -f1 /proc/loadavg", false),
        ("read a b </proc/loadavg; echo $a", false),
        ("awk '{ print $1 }' /proc/stat; exit 3", false),
        ("cat ./file ../file", false),
        ("t=/tmp/x.$$; df >$t; wc -l <$t", true),
        ("kill $PPID", true),
        (". /etc/default/app; echo $LIMIT", true),
        ("x=1; . ./app", true),
        ("trap 'rm x' EXIT", true),
        ("sleep 5 & kill $!", true),
        ("exec awk 1 file", true),
    ];
    for (script, own) in cases {
        assert_eq!(own_shell(script), own, "{script}");
    }
}

#[test]
fn every_script_has_its_own_value_status_and_complaint_again_and_again() {
    for name in SHELLS {
        let mut shell = Shell::open(name);
        for _ in 0..3 {
            let mut verdicts = shell.read(&[
                "echo 1",
                "echo 2; exit 3",
                "echo oops >&2; exit 4",
                "printf ' 5.5'",
                "echo \"it's $((2 * 3))\" | tr -dc 0-9",
                "echo warning >&2; echo high",
                "echo warning >&2; echo 8",
                "echo '",
                "true",
                "return 0; echo 5",
                "echo $$",
                "yes",
                "echo 12",
            ]);
            let syntax = verdicts.remove(7).unwrap_err();
            assert!(
                syntax.starts_with("exited with status 2; stderr: "),
                "{name}: {syntax}"
            );
            assert!(verdicts.remove(9).is_ok(), "{name}: {verdicts:?}");
            let returned = verdicts.remove(8).unwrap_err();
            assert!(
                returned.contains("printed nothing") || returned.contains("status"),
                "{returned}"
            );
            let expected = [
                Ok(1.0),
                error("exited with status 3"),
                error("exited with status 4; stderr: \"oops\""),
                Ok(5.5),
                Ok(6.0),
                error("printed text where a number is needed: \"high\"; stderr: \"warning\""),
                Ok(8.0),
                error("printed nothing; one number is needed"),
                error("printed more than 64 KiB; one number is needed"),
                Ok(12.0),
            ];
            assert_eq!(verdicts, expected, "{name}");
        }
    }
}

#[test]
fn nothing_that_a_script_does_reaches_another_or_the_next_tick() {
    let meddlers = [
        "cd /; x=1; export HOME=/nowhere; umask 777; alias echo=false; set -eu; IFS=1; echo 1",
        "cut() { echo 99; }; echo() { printf 98; }; PATH=/nowhere; readonly PATH; ulimit -n 4; echo 2",
        "exec 0<&- 1>&- 2>&-; for i in 3 4 5 6 7 8 9; do eval \"exec $i>&-\"; done",
        "_hi=7; _ha=7:7; _hx=7; unset -f _hc _hf _hs; cat; echo 3",
        "trap 'echo 97' EXIT TERM; set -- a b c; sleep 100 & echo 4",
        "jobs; read -r x; echo 5",
    ];
    let witness = "[ \"$PWD$HOME$(umask)$x$#\" = \"$W\" ] || exit 9; cut -c1 /proc/self/comm >/dev/null && echo 1";
    for name in SHELLS {
        let mut shell = Shell::open(name);
        let before = "printf %s\\\\n \"$PWD$HOME$(umask)$x$#\" >&2; exit 1";
        let told = shell.read(&[before])[0].clone().unwrap_err();
        let state = told
            .split('"')
            .nth(1)
            .unwrap_or_else(|| panic!("{told}"))
            .to_owned();
        let witness = witness.replace("$W", &state);
        for _ in 0..2 {
            let mut scripts = vec![witness.as_str()];
            for meddler in meddlers {
                scripts.extend([meddler, &witness]);
            }
            let started = Instant::now();
            let verdicts = shell.read(&scripts);
            for (verdict, script) in verdicts.iter().zip(&scripts) {
                if *script == witness {
                    assert_eq!(*verdict, Ok(1.0), "{name}: {verdicts:?}");
                }
            }
            assert_eq!(verdicts[1], Ok(1.0), "{name}");
            assert_eq!(verdicts[5], error("printed nothing; one number is needed"));
            assert_eq!(verdicts[7], Ok(3.0), "{name}");
            assert!(
                started.elapsed() < LIMIT,
                "{name}: a background child delays nobody"
            );
        }
    }
}

#[test]
fn a_slow_script_delays_nobody_and_none_runs_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let note = |word: &str| format!("echo {word} >>{}", log.display());
    for name in SHELLS {
        let mut shell = Shell::open(name);
        std::fs::write(&log, "").unwrap();
        let scripts = [
            format!("{}; echo 1", note("a")),
            format!("{}; sleep 1; echo 2", note("b")),
            format!("{}; sleep 1; echo 3", note("c")),
            format!("{}; sleep 1; echo 4", note("d")),
        ];
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let started = Instant::now();
        let verdicts = shell.read(&scripts);
        let took = started.elapsed();
        assert_eq!(verdicts, [Ok(1.0), Ok(2.0), Ok(3.0), Ok(4.0)], "{name}");
        assert!(took < Duration::from_millis(2500), "{name}: {took:?}");
        let mut ran: Vec<String> = std::fs::read_to_string(&log)
            .unwrap()
            .lines()
            .map(Into::into)
            .collect();
        ran.sort();
        assert_eq!(ran, ["a", "b", "c", "d"], "{name}");
    }
}

#[test]
fn the_chain_and_the_hurried_shell_draw_scripts_from_one_list_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let scripts: Vec<String> = (0..16)
        .map(|number| format!("echo {number} >>{}; echo {}", log.display(), 100 + number))
        .collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let expected: Vec<Result<f64, String>> = (100..116).map(|value| Ok(value.into())).collect();
    for name in SHELLS {
        let mut shell = Shell::open(name);
        // Somewhere in these milliseconds the chain is at work, on any machine.
        for round in 0..120 {
            std::fs::write(&log, "").unwrap();
            let after = Duration::from_micros(250 * round);
            let (held, _) = shell.ask_and_hurry(&scripts, after);
            assert_eq!(verdicts(&held), expected, "{name}, hurried after {after:?}");
            let ran = std::fs::read_to_string(&log).unwrap();
            let mut ran: Vec<u32> = ran.lines().map(|line| line.parse().unwrap()).collect();
            ran.sort_unstable();
            assert!(ran.iter().copied().eq(0..16), "{name}: {ran:?}");
        }
    }
}

/// What a script can try, knowing the shape of a frame and all that its user may see of the processes around it.
fn forgeries() -> Vec<String> {
    let frame = |token: &str| format!("\\n{token} 1 v 1 99\\n{token} 1 s 0\\n{token} 1 0\\n");
    let around = "$(cd /proc; for p in [0-9]*; do read -r s <$p/stat && set -- ${s##*[)] } && [ \"$3\" = \"$g\" ] && echo $p; done 2>/dev/null)";
    vec![
        format!("printf '{0}'; printf '{0}' >&2", frame("0123456789abcdef")),
        // With all it can see of variables, arguments and functions.
        format!(
            "exec 2>/dev/null; for t in $({{ set; echo \"$@ $* $_ $1 $2 $3\"; trap; cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline; }} | \
             tr '\\0' '\\n' | grep -o '[0-9a-f]\\{{16\\}}'); do printf \"{0}\"; printf \"{0}\" >&3; done; echo 0",
            frame("$t")
        ),
        // On every descriptor of the processes of its session.
        format!(
            "g=$(cut -d' ' -f5 /proc/self/stat); for p in {around}; do for f in /proc/$p/fd/*; do printf '{}' >$f; done; done 2>/dev/null; echo 0",
            frame("0123456789abcdef")
        ),
    ]
}

#[test]
fn a_script_cannot_forge_or_tear_the_frame_of_another() {
    for name in SHELLS {
        for forgery in forgeries() {
            let mut shell = Shell::open(name);
            for _ in 0..2 {
                // One after the other: beside each other, the scripts of one user may write into each other's output, which no frame prevents.
                let (held, _) = shell.ask_and_hurry(&[&forgery, "sleep 0.3; echo 1"], LIMIT);
                let verdicts = verdicts(&held);
                assert_eq!(verdicts[1], Ok(1.0), "{name}: {forgery}: {verdicts:?}");
            }
        }
    }
}

#[test]
fn the_token_stands_nowhere_a_script_can_look() {
    let look = |more: &str| {
        format!(
            "{{ set; echo \"$@ $* $_ $0 $1 $2 $3 $-\"; alias; trap; cat /proc/self/environ /proc/self/cmdline; {more} }} 2>/dev/null | \
             tr '\\0' '\\n' | grep -c '[5]f0c2b7d'"
        )
    };
    let scripts = [
        look(""),
        look("cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline;"),
        // When it ends, whose arguments are `$1`?
        "x() { case \"$1$2$*\" in *5f0c*) echo 1;; esac; }; eval \"t\"rap \"'case \\$1\\$* in *5f0c*) echo 1;; esac' 0\"; x; exit 1".into(),
    ];
    for name in SHELLS {
        let mut shell = Shell::open(name);
        for script in &scripts {
            for _ in 0..2 {
                let verdict = shell.read(&[script, "echo 1"])[0].clone();
                assert_eq!(verdict, error("exited with status 1"), "{name}: {script}");
            }
        }
    }
}

#[test]
fn a_script_that_kills_shells_around_it_loses_no_other_or_only_makes_it_missing() {
    for name in SHELLS {
        let mut shell = Shell::open(name);
        let verdicts = shell.read(&["kill -9 $PPID; echo 1", "sleep 0.2; echo 2", "echo 3"]);
        let killed = error("its shell was killed before it could tell the exit status");
        assert_eq!(verdicts, [killed, Ok(2.0), Ok(3.0)], "{name}");
        assert_eq!(
            shell.read(&["echo 4"]),
            [Ok(4.0)],
            "{name}: it is still held"
        );
        let verdicts = shell.read(&["echo 1", "sleep 0.1; kill -9 0", "echo 3"]);
        assert_eq!(verdicts[0], Ok(1.0), "{name}");
        assert_eq!(
            verdicts[1..],
            [error("missing"), error("missing")],
            "{name}"
        );
    }
}

#[test]
fn a_shell_that_is_asked_a_hundred_times_keeps_nothing_of_it() {
    for name in SHELLS {
        let mut shell = Shell::open(name);
        for _ in 0..100 {
            let mut held = held("5f0c2b7d", &["echo 1"]);
            let question = held.question(&mut shell.known);
            shell.stdin.write_all(question.as_bytes()).unwrap();
            while held.progress() != Progress::Complete {
                let bytes = shell.said.recv_timeout(LIMIT).unwrap();
                held.stdout(&bytes, Duration::ZERO);
            }
        }
        let group = shell.child.id().to_string();
        let count = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c \" ${G} \"";
        // The processes of its group, dead ones too: itself and the chain that counts.
        let left = shell.read(&[&count.replace("${G}", &group)])[0]
            .clone()
            .unwrap();
        assert!(left < 16.0, "{name}: {left} processes");
    }
}
