use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use proptest::prelude::*;

const LIMIT: Duration = Duration::from_secs(5);
const TOKEN: &str = "5f0c2b7d9e8a41d3";
const TOKEN_START: &str = "[5]f0";

/// Runs scripts through the real program, on this host; `stop` ends it after a while as the time limit does.
fn run(shell: &str, scripts: &[&str], stop: Option<Duration>) -> Batch {
    let mut child = Command::new(shell)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let program = program(TOKEN, scripts.iter().copied());
    stdin.write_all(&program.text).unwrap();
    if let Some(after) = stop {
        std::thread::spawn(move || {
            std::thread::sleep(after);
            // The watcher may have gone with the rest.
            drop(stdin.write_all(&program.stop));
        });
    } else {
        std::thread::spawn(move || {
            std::thread::sleep(LIMIT);
            drop(stdin);
        });
    }
    let mut batch = Batch::new(TOKEN.into(), scripts.iter().map(|_| LIMIT));
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = [0; 1000];
    let started = Instant::now();
    loop {
        let count = stdout.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        batch.stdout(&buffer[..count], started.elapsed());
    }
    child.wait().unwrap();
    batch
}

fn verdicts(batch: &Batch) -> Vec<Result<f64, String>> {
    batch
        .heard()
        .map(|heard| heard.map_or(Err("missing".into()), |heard| heard.account.verdict()))
        .collect()
}

fn read(scripts: &[&str]) -> Vec<Result<f64, String>> {
    verdicts(&run("/bin/sh", scripts, None))
}

fn error(text: &str) -> Result<f64, String> {
    Err(text.into())
}

#[test]
fn every_script_has_its_own_value_status_and_complaint() {
    let script = [
        "echo 1",
        "echo 2; exit 3",
        "echo oops >&2; exit 4",
        "printf ' 5.5'",
        "echo \"it's $((2 * 3))\" | tr -dc 0-9",
        "no-such-program",
    ];
    let mut verdicts = read(&script);
    let missing = verdicts.pop().unwrap().unwrap_err();
    assert!(
        missing.starts_with("exited with status 127; stderr: "),
        "{missing}"
    );
    assert_eq!(
        verdicts,
        [
            Ok(1.0),
            error("exited with status 3"),
            error("exited with status 4; stderr: \"oops\""),
            Ok(5.5),
            Ok(6.0),
        ]
    );
}

#[test]
fn a_bad_output_is_named_and_never_touches_the_next_script() {
    let scripts = [
        "true",
        "echo load is high",
        "echo 1 2",
        "echo 1; echo 2",
        "echo NaN",
        "head -c 1000000 /dev/zero | tr '\\0' '1'",
        "yes",
        "yes 9 | head -n 500000",
        "echo '",
        "echo 7",
    ];
    let mut verdicts = read(&scripts);
    let syntax = verdicts.remove(8).unwrap_err();
    assert!(
        syntax.starts_with("exited with status 2; stderr: "),
        "{syntax}"
    );
    let too_much = || error("printed more than 64 KiB; one number is needed");
    assert_eq!(
        verdicts,
        [
            error("printed nothing; one number is needed"),
            error("printed text where a number is needed: \"load is high\""),
            error("printed 2 numbers where one is needed: \"1 2\""),
            error("printed 2 lines where one number is needed, the first is \"1\""),
            error("printed \"NaN\", which cannot be compared with a threshold"),
            too_much(),
            too_much(),
            too_much(),
            Ok(7.0),
        ]
    );
}

#[test]
fn white_space_around_a_number_is_allowed_and_counted() {
    let scripts = [
        "printf '\\n\\n 4 \\r\\n\\n'",
        "yes '' | head -n 60000; echo 4",
        "yes '' | head -n 70000; echo 4",
    ];
    assert_eq!(
        read(&scripts),
        [
            Ok(4.0),
            Ok(4.0),
            error("printed more than 64 KiB; one number is needed"),
        ]
    );
}

/// The shells above a script: its own and the one that started the batch.
const ABOVE: &str = "$PPID $(cut -d' ' -f4 /proc/$PPID/stat)";

/// What a script can try, knowing the shape of a frame and all that its user may see of the shells above it.
fn forgeries() -> Vec<String> {
    let frame = |token: &str| format!("\\n{token} 1 v 1 99\\n{token} 1 s 0\\n");
    let guessed = frame("0123456789abcdef");
    vec![
        // With a guessed token, on its own streams and on every descriptor of the shells above.
        format!("printf '{guessed}'; printf '{guessed}' >&2"),
        format!(
            "exec 2>/dev/null; for p in {ABOVE}; do for f in /proc/$p/fd/*; do printf '{guessed}' >$f; done; done; echo 0"
        ),
        // Half a line in front of the next frame.
        format!(
            "exec 2>/dev/null; for p in {ABOVE}; do for f in /proc/$p/fd/*; do printf garbage >$f; done; done; echo 0"
        ),
        // With whatever looks like a token in the arguments and variables of those shells.
        format!(
            "exec 2>/dev/null; for p in {ABOVE}; do \
               for t in $(cat /proc/$p/cmdline /proc/$p/environ | tr '\\0' '\\n' | grep -o '[0-9a-f]\\{{16\\}}'); do \
                 for f in /proc/$p/fd/*; do printf \"{}\" >$f; done; done; done; echo 0",
            frame("$t")
        ),
    ]
}

#[test]
fn a_script_cannot_forge_or_tear_the_frame_of_another() {
    for shell in ["/bin/sh", "/bin/bash"] {
        for forgery in forgeries() {
            let batch = run(shell, &[&forgery, "sleep 0.3; echo 1"], None);
            let verdicts = verdicts(&batch);
            assert_eq!(verdicts[1], Ok(1.0), "{shell}: {forgery}: {verdicts:?}");
            assert_ne!(verdicts[0], error("missing"), "{forgery}");
        }
    }
}

#[test]
fn the_token_stands_nowhere_a_script_inherits() {
    let search = format!(
        "exec 2>/dev/null; {{ set; cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline; }} | tr '\\0' '\\n' | \
         grep -c '{TOKEN_START}c2b7d9e8a41d3'"
    );
    for shell in ["/bin/sh", "/bin/bash"] {
        assert_eq!(
            verdicts(&run(shell, &[&search, &format!("echo {TOKEN}")], None))[0],
            error("exited with status 1"),
            "{shell}: grep found it"
        );
    }
}

#[test]
fn closing_descriptors_and_reading_input_harms_only_the_script_itself() {
    let scripts = [
        "exec 0<&- 1>&- 2>&-; for i in 3 4 5 6 7 8 9; do eval \"exec $i>&-\"; done",
        "cat; echo 2",
        "read -r line; echo 3; exec 1>&- 2>&-; sleep 0.2",
        "echo 4",
    ];
    assert_eq!(
        read(&scripts),
        [
            error("printed nothing; one number is needed"),
            Ok(2.0),
            Ok(3.0),
            Ok(4.0),
        ]
    );
}

#[test]
fn a_background_child_delays_nobody() {
    let started = Instant::now();
    let verdicts = read(&["sleep 4 & echo 1", "(sleep 4; echo 9) & echo 2", "echo 3"]);
    assert_eq!(verdicts, [Ok(1.0), Ok(2.0), Ok(3.0)]);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_script_that_kills_its_parent_shell_loses_only_its_own_reading() {
    for shell in ["/bin/sh", "/bin/bash"] {
        let batch = run(shell, &["kill -9 $PPID; echo 1", "sleep 0.2; echo 2"], None);
        assert_eq!(
            verdicts(&batch),
            [
                error("its shell was killed before it could tell the exit status"),
                Ok(2.0),
            ]
        );
    }
}

#[test]
fn a_script_that_kills_all_shells_makes_frames_fail_to_come_and_nothing_else() {
    let batch = run(
        "/bin/sh",
        &["sleep 0.3; kill -9 0", "echo 2", "sleep 4; echo 3"],
        None,
    );
    assert_eq!(
        verdicts(&batch),
        [error("missing"), Ok(2.0), error("missing")]
    );
}

#[test]
fn a_hung_script_is_stopped_with_its_children_and_the_others_are_heard() {
    let started = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let hung = format!(
        "trap '' TERM HUP INT; sleep 600 & echo $$ $! >{}; while :; do sleep 600; done",
        pids.display()
    );
    let batch = run(
        "/bin/sh",
        &[&hung, "echo 2"],
        Some(Duration::from_millis(500)),
    );
    assert_eq!(verdicts(&batch), [error("missing"), Ok(2.0)]);
    assert!(started.elapsed() < LIMIT);
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = || stat().is_empty() || stat().contains(") Z ");
        // A killed process takes a moment to go.
        while !gone() {
            assert!(started.elapsed() < 2 * LIMIT, "{}", stat());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn the_limit_is_that_of_the_slowest_script_not_yet_heard_of() {
    let limits = [2, 30, 10].map(Duration::from_secs);
    let mut batch = Batch::new("t".into(), limits);
    assert_eq!(batch.limit(), limits[1]);
    let at = Duration::from_millis(100);
    batch.stdout(b"\nt 1 v 1 5\nt 1 s 0 \n", at);
    assert_eq!(batch.limit(), limits[2]);
    batch.stdout(b"\nt 2 v 1 5\nt 2 s 0 \n", at);
    assert_eq!(batch.limit(), limits[0]);
    // Its frame comes, but after its own limit.
    let late = Duration::from_secs(3);
    batch.stdout(b"\nt 0 v 1 5\nt 0 s 0 \n", late);
    assert_eq!(batch.limit(), late + FAREWELL);
    assert_eq!(
        verdicts(&batch),
        [error("did not finish within 2 s"), Ok(5.0), Ok(5.0)]
    );
}

#[test]
fn what_is_no_frame_is_kept_for_the_message() {
    let mut batch = Batch::new("t".into(), [LIMIT]);
    batch.stdout(
        b"\n\nThis account is currently not available.\nmore\n",
        LIMIT,
    );
    assert_eq!(
        batch.noise().unwrap(),
        "\"This account is currently not available.\""
    );
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_pieces_only_whole_frames_count(
        before in proptest::collection::vec(any::<u8>(), 0..200),
        after in proptest::collection::vec(any::<u8>(), 0..200),
        size in 1_usize..50,
    ) {
        let frame = b"\nt0ken 0 v 1 4.5\nt0ken 0 s 0 \n".as_slice();
        let bytes = [before.as_slice(), frame, &after].concat();
        let mut batch = Batch::new("t0ken".into(), [LIMIT]);
        for piece in bytes.chunks(size) {
            batch.stdout(piece, Duration::ZERO);
        }
        prop_assert_eq!(verdicts(&batch), vec![Ok(4.5)]);
    }
}
