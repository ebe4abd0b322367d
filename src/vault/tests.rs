use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::db::Db;

const NOW_MS: i64 = 1_700_000_000_000;

struct Bench {
    db: Db,
    vault: Vault,
    folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    Bench {
        db: Db::open(&url).unwrap(),
        vault: Vault::open(&folder.path().join("master.key")).unwrap(),
        folder,
    }
}

impl Bench {
    fn key_file(&self) -> PathBuf {
        self.folder.path().join("master.key")
    }

    fn put(&self, name: &str, secret: &str) -> SecretId {
        let conn = &mut *self.db.connection().unwrap();
        self.vault.put(conn, name, &secret.into(), NOW_MS).unwrap()
    }

    fn get(&self, id: SecretId) -> Result<String> {
        get_with(&self.vault, &self.db, id)
    }

    fn row(&self, id: SecretId) -> Secret {
        Secret::find(&mut self.db.connection().unwrap(), id).unwrap()
    }

    fn overwrite(&self, row: Secret) {
        let new = NewSecret {
            name: row.name,
            key_id: row.key_id,
            nonce: row.nonce,
            ciphertext: row.ciphertext,
            updated_ms: row.updated_ms,
        };
        Secret::update(&mut self.db.connection().unwrap(), row.id, &new).unwrap();
    }
}

fn get_with(vault: &Vault, db: &Db, id: SecretId) -> Result<String> {
    let secret = vault.get(&mut *db.connection()?, id)?;
    Ok(secret.expose_secret().to_owned())
}

#[test]
fn a_secret_comes_back_as_it_went_in_and_is_not_readable_in_the_row() {
    let bench = bench();
    let id = bench.put("jvm.password", "correct horse");
    assert_eq!(bench.get(id).unwrap(), "correct horse");
    let row = bench.row(id);
    assert!(!row.ciphertext.windows(5).any(|part| part == b"horse"));
    assert_eq!(row.nonce.len(), 12);
}

#[test]
fn putting_under_the_same_name_replaces_and_keeps_the_id() {
    let bench = bench();
    let id = bench.put("a", "one");
    let before = bench.row(id);
    assert_eq!(bench.put("a", "one"), id);
    assert_ne!(
        bench.row(id).nonce,
        before.nonce,
        "a nonce is never used twice"
    );
    bench.put("a", "two");
    assert_eq!(bench.get(id).unwrap(), "two");
}

#[test]
fn an_empty_and_a_large_secret_survive() {
    let bench = bench();
    let large = "é".repeat(50_000);
    assert_eq!(bench.get(bench.put("empty", "")).unwrap(), "");
    assert_eq!(bench.get(bench.put("large", &large)).unwrap(), large);
}

#[test]
fn a_changed_ciphertext_nonce_or_name_is_refused_as_damaged() {
    let bench = bench();
    let id = bench.put("a", "one");
    let intact = bench.row(id);

    let mut flipped = intact.clone();
    flipped.ciphertext[0] ^= 1;
    let mut other_nonce = intact.clone();
    other_nonce.nonce[3] ^= 1;
    let mut short_nonce = intact.clone();
    short_nonce.nonce.pop();
    let mut cut = intact.clone();
    cut.ciphertext.truncate(4);
    let mut renamed = intact.clone();
    renamed.name = "b".into();
    for damaged in [flipped, other_nonce, short_nonce, cut, renamed] {
        bench.overwrite(damaged);
        let message = bench.get(id).unwrap_err().to_string();
        assert!(message.contains("is damaged"), "{message}");
        assert!(!message.contains("one"), "{message}");
    }
    bench.overwrite(intact);
    assert_eq!(bench.get(id).unwrap(), "one");
}

#[test]
fn a_row_moved_under_another_secrets_id_is_refused() {
    let bench = bench();
    let mild = bench.put("mild", "public enough");
    let grave = bench.put("grave", "root password");
    let stolen = Secret {
        id: mild,
        name: "mild".into(),
        ..bench.row(grave)
    };
    bench.overwrite(stolen);
    assert!(
        bench
            .get(mild)
            .unwrap_err()
            .to_string()
            .contains("is damaged")
    );
}

#[test]
fn another_key_file_is_named_as_the_reason() {
    let bench = bench();
    let id = bench.put("a", "one");
    let elsewhere = Vault::open(&bench.folder.path().join("other.key")).unwrap();
    let message = get_with(&elsewhere, &bench.db, id).unwrap_err().to_string();
    assert!(message.contains("which is not in"), "{message}");
    assert!(message.contains("other.key"), "{message}");
}

#[test]
fn the_key_file_is_made_for_its_owner_alone_and_read_again() {
    let bench = bench();
    let mode = fs::metadata(bench.key_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let id = bench.put("a", "one");
    let again = Vault::open(&bench.key_file()).unwrap();
    assert_eq!(get_with(&again, &bench.db, id).unwrap(), "one");
    let left: Vec<_> = fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".master"))
        .collect();
    assert!(left.is_empty(), "temporary files stay: {left:?}");
}

#[test]
fn a_key_file_open_to_others_is_refused_with_the_command_that_helps() {
    let bench = bench();
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(bench.key_file(), fs::Permissions::from_mode(mode)).unwrap();
        let message = Vault::open(&bench.key_file()).unwrap_err().to_string();
        assert!(message.contains("open to others"), "{message}");
        assert!(message.contains("chmod 600"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_key_ring_is_refused_and_its_text_not_shown() {
    let bench = bench();
    let good = fs::read_to_string(bench.key_file()).unwrap();
    let cut = good.trim_end().get(..good.len() - 5).unwrap().to_owned();
    for (text, expected) in [
        (String::new(), "holds no key"),
        ("# only a comment\n".to_owned(), "holds no key"),
        (cut, "line 3 is not a key"),
        (format!("{good}c2hvcnQ=\n"), "line 4 is not a key"),
        (format!("{good}not base64!\n"), "line 4 is not a key"),
        ("A".repeat(70_000), "too large"),
    ] {
        fs::write(bench.key_file(), text).unwrap();
        let message = Vault::open(&bench.key_file()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("c2hvcnQ="), "{message}");
    }
}

#[test]
fn a_key_file_that_is_gone_is_not_silently_replaced_while_running() {
    let bench = bench();
    let id = bench.put("a", "one");
    let mut row = bench.row(id);
    row.key_id = "0123456789abcdef".into();
    bench.overwrite(row);
    fs::remove_file(bench.key_file()).unwrap();
    let message = bench.get(id).unwrap_err().to_string();
    assert!(message.contains("could not be read"), "{message}");
    assert!(!bench.key_file().exists());
}

#[test]
fn after_a_rotation_the_old_key_is_no_longer_needed() {
    let bench = bench();
    let ids = [bench.put("a", "one"), bench.put("b", "two")];
    let old_line = fs::read_to_string(bench.key_file())
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .to_owned();

    bench.vault.add_key().unwrap();
    assert_eq!(
        bench.get(ids[0]).unwrap(),
        "one",
        "old keys go on decrypting"
    );
    bench.put("c", "three");
    let rotate = || {
        bench
            .db
            .write_blocking(|conn| bench.vault.rotate(conn, NOW_MS))
            .unwrap()
    };
    assert_eq!(rotate(), 2, "what the new key already holds is left");
    assert_eq!(rotate(), 0);

    let kept = fs::read_to_string(bench.key_file())
        .unwrap()
        .replace(&old_line, "");
    fs::write(bench.key_file(), kept).unwrap();
    let reopened = Vault::open(&bench.key_file()).unwrap();
    for (id, secret) in ids.into_iter().zip(["one", "two"]) {
        assert_eq!(get_with(&reopened, &bench.db, id).unwrap(), secret);
    }
}

#[test]
fn a_process_with_the_old_ring_reads_what_a_newer_key_encrypted() {
    let bench = bench();
    let other = Vault::open(&bench.key_file()).unwrap();
    other.add_key().unwrap();
    let conn = &mut *bench.db.connection().unwrap();
    let id = other.put(conn, "a", &"one".into(), NOW_MS).unwrap();
    assert_eq!(bench.get(id).unwrap(), "one");
}

#[test]
fn processes_that_start_together_share_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    newest(&Vault::open(&path).unwrap().ring())
                        .unwrap()
                        .id
                        .clone()
                })
            })
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn debug_shows_neither_key_nor_secret() {
    let bench = bench();
    let ring = bench.vault.ring();
    let shown = format!("{:?} {:?} {ring:?}", bench.vault, newest(&ring).unwrap());
    let file = fs::read_to_string(bench.key_file()).unwrap();
    assert!(!shown.contains(file.lines().last().unwrap()), "{shown}");
    assert!(shown.contains("master.key"), "{shown}");
}
