//! The first login of a new installation.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Auth;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::models::Role;
use crate::models::user::{NewUser, User};
use crate::web::auth::{password, token};

/// The name of the first user.
const NAME: &str = "admin";

/// A first login that was made just now; to be printed once.
#[derive(Debug)]
pub struct FirstLogin {
    /// The user's name.
    pub user: &'static str,
    /// The password, when Headroom made it up.
    pub password: Option<SecretString>,
    /// Where the made-up password is kept.
    pub file: PathBuf,
}

/// Makes the user `admin` when there is no user at all. Blocks.
///
/// # Errors
/// The given password is too short, its file cannot be written, or the database fails.
pub fn ensure_first_admin(db: &Db, auth: &Auth, now_ms: i64) -> Result<Option<FirstLogin>> {
    if User::count(&mut *db.connection()?)? > 0 {
        return Ok(None);
    }
    if let Some(given) = &auth.admin_password {
        password::check(given)
            .map_err(|_| Error::invalid("HEADROOM_ADMIN_PASSWORD", too_short()))?;
    }
    let made_up = match auth.admin_password {
        Some(_) => None,
        None => Some(SecretString::from(token::random())),
    };
    let Some(chosen) = auth.admin_password.as_ref().or(made_up.as_ref()) else {
        return Ok(None);
    };
    let new = NewUser {
        name: NAME.to_owned(),
        password_hash: password::hash(chosen)?,
        role: Role::Admin,
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    // The file first: a user whose password nobody knows would lock everyone out.
    let made = db.write_blocking(|conn| {
        if User::count(conn)? > 0 {
            return Ok(false);
        }
        if let Some(password) = &made_up {
            keep(&auth.initial_password_file, password)?;
        }
        User::insert(conn, &new)?;
        Ok(true)
    })?;
    Ok(made.then(|| FirstLogin {
        user: NAME,
        password: made_up,
        file: auth.initial_password_file.clone(),
    }))
}

fn too_short() -> String {
    format!("must have {} characters at least", password::MIN_LENGTH)
}

/// Written anew, never into an existing file that others may have open.
fn keep(file: &Path, password: &SecretString) -> Result<()> {
    let written = (|| {
        if file.exists() {
            fs::remove_file(file)?;
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(out, "{}", password.expose_secret())?;
        out.sync_all()
    })();
    written.map_err(|cause: std::io::Error| {
        let place = file.display();
        Error::internal(
            format!("could not keep the first password in {place}"),
            cause,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn setting(password: Option<&str>) -> (tempfile::TempDir, Db, Auth) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let db = Db::open(&format!("sqlite://{}/t.db", place.display())).unwrap();
        let auth = Auth {
            master_key_file: place.join("key"),
            admin_password: password.map(Into::into),
            initial_password_file: place.join("initial-admin-password"),
        };
        (folder, db, auth)
    }

    #[test]
    fn a_made_up_password_is_told_once_and_kept_for_its_owner_alone() {
        let (_folder, db, auth) = setting(None);
        let first = ensure_first_admin(&db, &auth, 1).unwrap().unwrap();
        let told = first.password.unwrap();
        let kept = fs::read_to_string(&first.file).unwrap();
        assert_eq!(kept.trim(), told.expose_secret());
        let mode = fs::metadata(&first.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(ensure_first_admin(&db, &auth, 2).unwrap().is_none());
        let user = User::by_name(&mut db.connection().unwrap(), "admin").unwrap();
        assert_eq!(user.role, Role::Admin);
    }

    #[test]
    fn a_given_password_is_used_and_written_nowhere() {
        let (_folder, db, auth) = setting(Some("a good password"));
        let first = ensure_first_admin(&db, &auth, 1).unwrap().unwrap();
        assert!(first.password.is_none());
        assert!(!first.file.exists());
        let user = User::by_name(&mut db.connection().unwrap(), "admin").unwrap();
        assert!(!user.password_hash.contains("a good password"));
    }

    #[test]
    fn a_given_password_that_is_too_short_is_refused_by_its_setting() {
        let (_folder, db, auth) = setting(Some("short"));
        let refusal = ensure_first_admin(&db, &auth, 1).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "HEADROOM_ADMIN_PASSWORD: must have 10 characters at least"
        );
    }
}
