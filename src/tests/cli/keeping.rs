//! `backup`, `restore`, `doctor`, `migrate` and `vault rotate`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

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
fn a_backup_holds_the_files_that_actions_use_and_puts_them_back() {
    let old = Headroom::new(&[]);
    old.apply("actions: [{ name: keep, kind: ZabbixBackup, dir: copies/zabbix }]");
    let put = |headroom: &Headroom, name: &str, text: &str| {
        let path = headroom.file("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let get = |headroom: &Headroom, name: &str| {
        fs::read_to_string(headroom.file("data").join(name)).unwrap_or_default()
    };
    let files = [
        "fabric-scripts/deploy.py",
        "fabric-scripts/scripts/load",
        "puppet/web.pp",
        "zabbix/hosts.json",
        "copies/zabbix/hosts.json",
    ];
    for name in files {
        put(&old, name, name);
    }
    put(&old, "fabric-scripts/__pycache__/deploy.pyc", "x");
    put(&old, "private/key", "x");
    let script = old.file("data/fabric-scripts/scripts/load");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    // A link is followed once; one that leads back up ends there.
    let elsewhere = old.file("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("app.pp"), "app").unwrap();
    symlink(&elsewhere, old.file("data/puppet/shared")).unwrap();
    symlink(old.file("data/puppet"), elsewhere.join("back")).unwrap();
    let file = old.say(&["backup"]).trim().to_owned();

    let new = Headroom::new(&[]);
    put(&new, "puppet/web.pp", "mine");
    let refused = new.call(&["restore", &file]);
    assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
    let told = shown(&refused);
    assert!(told.contains("holds puppet/web.pp already"), "{told}");
    let left: Vec<_> = fs::read_dir(new.file("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["puppet"], "nothing is left of what was refused");
    assert_eq!(get(&new, "puppet/web.pp"), "mine");

    let told = new.say(&["restore", &file, "--force"]);
    assert!(
        told.contains("master.key, 6 files of the operator's into"),
        "{told}"
    );
    for name in files {
        assert_eq!(get(&new, name), name);
    }
    assert_eq!(get(&new, "puppet/shared/app.pp"), "app");
    assert_eq!(get(&new, "fabric-scripts/__pycache__/deploy.pyc"), "");
    assert_eq!(get(&new, "private/key"), "");
    let mode = |name: &str| {
        let kind = fs::metadata(new.file("data").join(name)).unwrap();
        kind.permissions().mode() & 0o777
    };
    assert_eq!(mode("fabric-scripts/scripts/load"), 0o700);
    assert_eq!(mode("puppet/web.pp"), 0o600);
    assert_eq!(mode("fabric-scripts"), 0o700);
}

#[test]
fn a_backup_that_would_write_outside_its_folders_is_refused() {
    for member in [
        "files/../../evil",
        "files/queue.db",
        "evil",
        "files/puppet/link",
    ] {
        let headroom = Headroom::new(&[]);
        let file = headroom.file("crafted.tar.gz");
        let packer = flate2::write::GzEncoder::new(
            fs::File::create(&file).unwrap(),
            flate2::Compression::fast(),
        );
        let mut archive = tar::Builder::new(packer);
        let mut header = tar::Header::new_gnu();
        // Names that the library itself would refuse to write.
        header.as_old_mut().name[..member.len()].copy_from_slice(member.as_bytes());
        header.set_mode(0o600);
        header.set_size(0);
        if member.ends_with("link") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name("/etc").unwrap();
        }
        header.set_cksum();
        archive.append(&header, &b""[..]).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        let refused = headroom.call(&["restore", file.to_str().unwrap(), "--force"]);
        assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
        let told = shown(&refused);
        let said = told.contains("does not belong in a backup") || told.contains("is no file");
        assert!(said, "{told}");
        assert!(!headroom.file("evil").exists());
        let left = fs::read_dir(headroom.file("data")).unwrap().count();
        assert_eq!(left, 0, "{member}");
    }
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
