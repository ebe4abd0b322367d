//! Nodes whose login shell is another one: the program goes to `/bin/sh` all the same, and where something else answers, that is told.

use headroom::models::{NodeId, SshProfileId};

use super::collect::{Fleet, error};
use super::held::execs;
use crate::support::sshd::{SHELL_USERS, Sshd, make_shell_users};

#[tokio::test]
async fn a_shell_is_held_whatever_the_login_shell_is() {
    make_shell_users();
    let sshd = Sshd::start_with(1, "LogLevel VERBOSE");
    let mut fleet = Fleet::new();
    fleet.scripts(&["echo 1", "x='a \"b'; echo ${#x}", "exit 3"]);
    let nodes: Vec<NodeId> = SHELL_USERS
        .iter()
        .map(|(user, _)| {
            let profile: SshProfileId = fleet.profile_as(&sshd, user);
            fleet.node(&format!("of-{user}"), "127.0.0.1", Some(profile))
        })
        .collect();
    let collectors = fleet.collectors();
    for _ in 0..3 {
        let readings = fleet.tick(&collectors, 30 * super::SECOND).await;
        for node in &nodes {
            let outcomes = super::collect::outcomes(&readings, *node, &fleet.counters);
            let expected = [Ok(1.0), Ok(4.0), error("exited with status 3")];
            assert_eq!(outcomes, expected, "{}", sshd.log());
        }
    }
    let users = SHELL_USERS.len();
    assert_eq!((execs(&sshd), sshd.logins()), (users, users));
}

#[tokio::test]
async fn commands_and_uploads_pass_whatever_the_login_shell_is() {
    use headroom::clients::ssh::{Host, Login, Trust, Upload};
    make_shell_users();
    let sshd = Sshd::start(1);
    let lab = super::Lab::new();
    for (user, shell) in SHELL_USERS {
        let key = secrecy::SecretString::from(sshd.key());
        let host = Host {
            address: "127.0.0.1".into(),
            port: sshd.port(),
            login: std::sync::Arc::new(Login::new(user, key, Trust::FirstUse)),
        };
        let word = lab.word(&host, "echo \"it's $((6*7))\"; id -un >&2").await;
        assert_eq!(word, "it's 42", "{shell}");
        let file = Upload {
            name: "app.conf".into(),
            content: b"a\0'b\"$c\n!".to_vec(),
            time_limit: 10 * super::SECOND,
        };
        let place = lab.ssh.upload(&host, file).await.unwrap();
        let script = format!("wc -c <{place}; rm -r $(dirname {place})");
        assert_eq!(lab.word(&host, &script).await, "9", "{shell}");
    }
}

#[tokio::test]
async fn busybox_in_the_place_of_sh_holds_a_shell_and_csh_in_its_place_is_told() {
    // Fish waits for the end of its input before it reads any of it.
    let cases = [
        ("/bin/busybox sh", Ok(1.0), 3),
        ("/bin/tcsh -f", error("; the node said \""), 3),
        ("/usr/bin/fish", error("did not finish within 2 s"), 1),
    ];
    for (shell, expected, ticks) in cases {
        let setting = format!("ForceCommand {shell}");
        let sshd = Sshd::start_with(1, &format!("LogLevel VERBOSE\n{setting}"));
        let mut fleet = Fleet::new();
        let profile = fleet.profile(&sshd);
        let node = fleet.node("web01", "127.0.0.1", Some(profile));
        fleet.counter(headroom::models::CounterKind::Ssh, "echo 1", 2);
        let collectors = fleet.collectors();
        for _ in 0..ticks {
            let outcome = fleet.outcomes(&collectors, node).await.remove(0);
            match (&expected, &outcome) {
                (Ok(number), Ok(read)) => assert_eq!(number, read, "{setting}"),
                (Err(part), Err(why)) => assert!(why.contains(part), "{setting}: {why}"),
                _ => panic!("{setting}: {outcome:?}"),
            }
        }
        if expected.is_ok() {
            assert_eq!(execs(&sshd), 1, "{setting}: {}", sshd.log());
        }
    }
}
