//! `backup`, `restore`, `doctor`, `migrate` and `vault rotate`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::shown;
use crate::support::process::Headroom;

const FLEET: &str = "
ssh_profiles: [{ name: ops, user: ops, private_key: \"not really a key\" }]
clusters: [{ name: web }]
";

#[test]
fn a_backup_comes_back_in_an_empty_folder_with_its_secrets() {
    let old = Headroom::new(&[]);
    old.apply(FLEET);
    let file = old.say(&["backup"]).trim().to_owned();
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds the master key");

    let new = Headroom::new(&[]);
    let told = new.say(&["restore", &file]);
    assert!(
        told.contains("headroom.db, samples.db, master.key"),
        "{told}"
    );
    assert_eq!(new.say(&["export"]), old.say(&["export"]));
    let rotated = new.say(&["vault", "rotate"]);
    assert!(
        rotated.starts_with("1 secrets are encrypted with a new key"),
        "it can be read: {rotated}"
    );

    let again = new.call(&["restore", &file]);
    assert_eq!(again.status.code(), Some(2), "{}", shown(&again));
    assert!(
        shown(&again).contains("say --force to replace them"),
        "{}",
        shown(&again)
    );
    new.say(&["restore", &file, "--force"]);
    assert_eq!(new.say(&["export"]), old.say(&["export"]));
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_is_left_of_it() {
    let headroom = Headroom::new(&[]);
    let file = headroom.file("notes.tar.gz");
    fs::write(&file, "just some text").unwrap();
    let refused = headroom.call(&["restore", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
    assert!(
        shown(&refused).contains("notes.tar.gz: cannot be restored"),
        "{}",
        shown(&refused)
    );
    let data = headroom.file("data");
    let left: Vec<_> = fs::read_dir(&data)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_rotated_master_key_takes_over_every_secret_and_the_old_line_may_go() {
    let headroom = Headroom::new(&[]);
    headroom.apply(FLEET);
    let key_file = headroom.file("data/master.key");
    let before = fs::read_to_string(&key_file).unwrap();
    headroom.say(&["vault", "rotate"]);
    let after = fs::read_to_string(&key_file).unwrap();
    assert_eq!(after.lines().count(), before.lines().count() + 1);
    assert!(
        after.starts_with(&before),
        "older keys still read older backups"
    );

    let newest = after.lines().last().unwrap();
    fs::write(&key_file, format!("{newest}\n")).unwrap();
    let rotated = headroom.say(&["vault", "rotate"]);
    assert!(
        rotated.starts_with("1 secrets"),
        "read with the newest key alone: {rotated}"
    );
}

#[test]
fn the_doctor_names_what_is_missing_and_the_remedy() {
    let healthy = Headroom::new(&[]);
    let told = healthy.say(&["doctor"]);
    for line in [
        "ok       data folder",
        "ok       database",
        "ok       samples and queue",
        "ok       mail: not set up",
    ] {
        assert!(told.contains(line), "{told}");
    }

    let mut ill = Headroom::new(&[]);
    ill.apply("ssh_profiles: [{ name: ops, user: ops, private_key_file: /nowhere/id }]");
    ill.set("REDIS_URL", "redis://127.0.0.1:1/");
    ill.set("HEADROOM_SMTP_URL", "smtp://127.0.0.1:1?tls=none");
    ill.set("HEADROOM_MAIL_FROM", "headroom@example.org");
    let told = ill.call(&["doctor"]);
    assert_eq!(told.status.code(), Some(1));
    let told = shown(&told);
    for part in [
        "MISSING  samples and queue",
        "check REDIS_URL",
        "MISSING  mail: 127.0.0.1:1 refuses",
        "MISSING  private keys: /nowhere/id of ssh profile \"ops\": No such file",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn migrating_twice_is_the_same_as_once() {
    let headroom = Headroom::new(&[]);
    for _ in 0..2 {
        assert_eq!(headroom.say(&["migrate"]), "the database is up to date\n");
    }
}
