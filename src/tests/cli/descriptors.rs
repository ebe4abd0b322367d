//! Fewer open files than the fleet needs: told at the start, when the fleet grows, and by `doctor`.

use std::fmt::Write as _;
use std::time::Duration;

use super::shown;
use crate::support::process::Headroom;
use crate::support::{ports, wait};

/// A fleet of so many nodes, the last two of them behind a jump host, at a port where nobody listens.
fn fleet(nodes: usize) -> String {
    let port = ports::free();
    let mut text = format!(
        "ssh_profiles:\n\
         - {{ name: ops, user: ops, port: {port}, private_key: none, host_keys: first_use }}\n\
         - {{ name: far, user: ops, port: {port}, private_key: none, host_keys: first_use, proxy_jump: '127.0.0.1:{port}' }}\n\
         counters: [{{ name: one, kind: ssh, script: echo 1, threshold: 5 }}]\n\
         triggers: [{{ name: hot, cluster: web, counters: [one], timing: 5m }}]\n\
         clusters:\n- name: web\n  nodes:\n"
    );
    for number in 1..=nodes {
        let profile = if number + 2 > nodes { "far" } else { "ops" };
        writeln!(
            text,
            "  - {{ name: web{number:03}, address: 127.0.0.1, ssh_profile: {profile} }}"
        )
        .unwrap();
    }
    text
}

fn said(headroom: &Headroom, what: &str) -> usize {
    headroom.log().matches(what).count()
}

#[test]
fn too_few_open_files_are_told_at_the_start_and_when_the_fleet_grows_with_the_number_needed() {
    let mut headroom = Headroom::new(&[("HEADROOM_TICK", "1s")]);
    headroom.allow_files(300);
    headroom.apply(&fleet(40));
    let enough = headroom.call(&["doctor"]);
    assert!(
        shown(&enough).contains("file descriptors: 300 allowed, 298 needed for 40 nodes"),
        "{}",
        shown(&enough)
    );
    headroom.serve();
    let short = "too few open files: 60 nodes need 318 open files, the limit is 300: raise it";
    headroom.apply(&fleet(60));
    let limit = Duration::from_secs(20);
    wait::until("the shortage to be told", limit, || {
        (said(&headroom, short) == 1).then_some(())
    });
    assert_eq!(said(&headroom, "too few open files"), 1, "not before");
    let missing = headroom.call(&["doctor"]);
    assert!(!missing.status.success());
    assert!(
        shown(&missing).contains("file descriptors: 60 nodes need 318 open files"),
        "{}",
        shown(&missing)
    );
    headroom.stop();
    // At the next start it is told before the first tick.
    headroom.set("HEADROOM_TICK", "1h");
    headroom.serve();
    wait::until("the shortage to be told again", limit, || {
        (said(&headroom, short) == 2).then_some(())
    });
    headroom.stop();
}
