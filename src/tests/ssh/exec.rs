use std::time::{Duration, Instant};

use headroom::clients::Exit;
use headroom::clients::ssh::{Request, Trust, Upload};
use tokio::time::timeout;

use super::{Lab, SECOND, gone, host, host_with, request};
use crate::support::sshd::{BadHost, Manners, Sshd};
use crate::support::wait;

#[tokio::test]
async fn scripts_report_status_streams_and_time_over_one_kept_connection() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    for status in [0, 3, 255] {
        let script = format!("echo \"it's $((6 * 7)) \\\\\"; echo err >&2; exit {status}");
        let output = lab.exec(&host, &script).await.unwrap();
        assert_eq!(output.status, Exit::Status(status));
        assert_eq!(output.stdout_text(), "it's 42 \\\n");
        assert_eq!(output.stderr_text(), "err\n");
        assert!(!output.truncated);
        assert!(output.took < 10 * SECOND);
    }
    assert_eq!(sshd.logins(), 1, "one connection for all");
    assert_eq!(lab.ssh.open_connections(), 1);
}

#[tokio::test]
async fn input_reaches_a_script_byte_for_byte() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let request = Request {
        stdin: bytes.clone(),
        max_output: 300_000,
        ..request("cat")
    };
    let host = host(&sshd, Trust::FirstUse);
    let output = lab.ssh.exec(&host, request).await.unwrap();
    assert!(output.stdout == bytes, "{} bytes", output.stdout.len());
}

#[tokio::test]
async fn long_output_is_cut_and_said_to_be_while_the_script_ends_by_itself() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; exit 7";
    let output = lab.exec(&host, script).await.unwrap();
    assert_eq!(output.status, Exit::Status(7));
    assert_eq!((output.stdout.len(), output.stderr.len()), (10_000, 10_000));
    assert!(output.truncated);
}

#[tokio::test]
async fn at_its_time_limit_a_script_is_stopped_with_its_children() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let request = Request {
        time_limit: SECOND,
        ..request("sleep 600 & echo $! $$; sleep 600")
    };
    let started = Instant::now();
    let output = lab.ssh.exec(&host, request).await.unwrap();
    assert_eq!(output.status, Exit::Stopped { confirmed: true });
    assert!(started.elapsed() >= SECOND && output.took < 3 * SECOND);
    for pid in output.stdout_text().split_whitespace() {
        assert!(gone(pid).await, "{pid} was left running");
    }
    assert_eq!(lab.word(&host, "echo well").await, "well");
    assert_eq!(sshd.logins(), 1, "the connection is still good");
}

#[tokio::test]
async fn a_script_that_ignores_the_request_to_end_is_killed() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let request = Request {
        time_limit: SECOND,
        ..request("trap '' TERM INT HUP; echo $$; while :; do sleep 600; done")
    };
    let output = lab.ssh.exec(&host, request).await.unwrap();
    assert_eq!(output.status, Exit::Stopped { confirmed: true });
    assert!(gone(output.stdout_text().trim()).await);
}

#[tokio::test]
async fn dropping_a_run_stops_the_script_on_the_node() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let file = sshd.scratch().join("pid");
    let script = format!(
        "echo $$ >{0}.new; mv {0}.new {0}; sleep 600",
        file.display()
    );
    let run = timeout(Duration::from_secs(3), lab.exec(&host, &script)).await;
    assert!(run.is_err(), "it was still running");
    let pid = wait::until("the script's pid", 5 * SECOND, || {
        std::fs::read_to_string(&file).ok()
    });
    assert!(gone(pid.trim()).await);
}

#[tokio::test]
async fn two_scripts_on_one_host_do_not_wait_for_each_other() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    lab.word(&host, "echo warm").await;
    let started = Instant::now();
    let slow = lab.word(&host, "sleep 3; echo slow");
    let quick = async {
        let word = lab.word(&host, "echo quick").await;
        (word, started.elapsed())
    };
    let (slow, (quick, took)) = tokio::join!(slow, quick);
    assert_eq!((slow.as_str(), quick.as_str()), ("slow", "quick"));
    assert!(took < 3 * SECOND, "{took:?}");
    assert_eq!(
        lab.ssh.open_connections(),
        1,
        "the second connection is not kept"
    );
}

#[tokio::test]
async fn a_script_ended_by_a_signal_says_so() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let output = lab.exec(&host, "kill -9 $$").await.unwrap();
    assert_eq!(output.status, Exit::Status(137));
    // Taking the shell around it along.
    let output = lab.exec(&host, "kill -9 0").await.unwrap();
    assert_eq!(output.status, Exit::Signal("KILL".into()));
}

#[tokio::test]
async fn what_a_script_leaves_running_does_not_delay_its_end() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let script = "sleep 600 & echo $!; echo warning >&2; exit 4";
    for _ in 0..2 {
        let output = lab.exec(&host, script).await.unwrap();
        assert_eq!(output.status, Exit::Status(4));
        assert_eq!(output.stderr_text(), "warning\n");
        assert!(output.took < 10 * SECOND, "{:?}", output.took);
        let left = output.stdout_text();
        let name = std::fs::read_to_string(format!("/proc/{}/comm", left.trim())).unwrap();
        assert_eq!(name, "sleep\n", "it was not told to stop");
    }
    assert_eq!(sshd.logins(), 1, "the connection is still good");
}

#[tokio::test]
async fn connecting_counts_towards_the_time_limit() {
    let lab = Lab::new();
    let silent = BadHost::start(Manners::Silent);
    let started = Instant::now();
    let request = Request {
        time_limit: SECOND,
        ..request("echo ran")
    };
    let host = host_with("a key", silent.port(), Trust::FirstUse);
    let error = lab.ssh.exec(&host, request).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("no command could be started before its time was over"),
        "{error}"
    );
    assert!(started.elapsed() < 3 * SECOND);
}

#[tokio::test]
async fn a_file_is_kept_whole_for_the_user_alone() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let file = |name: &str, content: &[u8]| Upload {
        name: name.into(),
        content: content.to_vec(),
        time_limit: 20 * SECOND,
    };
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    for content in [bytes.as_slice(), b""] {
        let place = lab
            .ssh
            .upload(&host, file("site.pp", content))
            .await
            .unwrap();
        assert!(place.ends_with("/site.pp"), "{place}");
        let told = lab
            .word(&host, &format!("stat -c %a:%U {place} $(dirname {place}); sha256sum <{place}; rm -r $(dirname {place})"))
            .await;
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
        assert_eq!(
            told,
            format!("600:headroom-test\n700:headroom-test\n{digest}  -")
        );
    }
    for name in ["", "../x", "a b", "a'b", "-x", ".x"] {
        let error = lab.ssh.upload(&host, file(name, b"x")).await.unwrap_err();
        assert!(error.to_string().contains("plain file name"), "{error}");
    }
    assert_eq!(sshd.logins(), 1);
}
