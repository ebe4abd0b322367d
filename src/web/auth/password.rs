//! Passwords: argon2id, off the async threads, at most a few at a time, since each one costs 19 MiB.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// The fewest characters of a password.
pub const MIN_LENGTH: usize = 10;
/// The most bytes that are hashed of one.
pub const MAX_LENGTH: usize = 512;

/// How many are hashed at once.
static HASHING: Semaphore = Semaphore::const_new(2);

/// What an unknown user's password is held against, so that the time taken does not tell whether the name exists.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let hash = hash(&SecretString::from("nobody has this password"));
    hash.unwrap_or_default()
});

/// Refuses a password that is too short or absurdly long.
///
/// # Errors
/// `Invalid` at `password`.
pub fn check(password: &SecretString) -> Result<()> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_LENGTH || text.len() > MAX_LENGTH {
        return Err(Error::invalid(
            "password",
            format!("must have {MIN_LENGTH} characters at least and {MAX_LENGTH} bytes at most"),
        ));
    }
    Ok(())
}

/// The PHC string to keep. Blocks for some tens of milliseconds.
///
/// # Errors
/// The system has no randomness to give.
pub fn hash(password: &SecretString) -> Result<String> {
    let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
        .hash_password(password.expose_secret().as_bytes())
        .map_err(|cause| Error::internal("could not hash a password", cause))?;
    Ok(hash.to_string())
}

/// Whether a password is the one behind `hash`; with no hash it takes as long and says no.
///
/// # Errors
/// What is kept is no PHC string.
pub async fn verify(password: SecretString, hash: Option<String>) -> Result<bool> {
    let _permit = HASHING
        .acquire()
        .await
        .map_err(|cause| Error::internal("could not check a password", cause))?;
    tokio::task::spawn_blocking(move || match hash {
        Some(hash) => matches(&password, &hash),
        None => matches(&password, &NOBODY).map(|_| false),
    })
    .await
    .map_err(|cause| Error::internal("could not check a password", cause))?
}

fn matches(password: &SecretString, hash: &str) -> Result<bool> {
    let hash = PasswordHash::new(hash)
        .map_err(|cause| Error::internal("a kept password hash cannot be read", cause))?;
    let password = password.expose_secret().as_bytes();
    Ok(password.len() <= MAX_LENGTH && Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches_its_hash() {
        let kept = hash(&"correct horse battery".into()).unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        let right = verify("correct horse battery".into(), Some(kept.clone())).await;
        assert!(right.unwrap());
        let wrong = verify("correct horse batterx".into(), Some(kept)).await;
        assert!(!wrong.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password_that_matches() {
        let right = verify("nobody has this password".into(), None).await;
        assert!(!right.unwrap());
    }

    #[test]
    fn equal_passwords_have_different_hashes() {
        let password = SecretString::from("correct horse battery");
        assert_ne!(hash(&password).unwrap(), hash(&password).unwrap());
    }

    #[test]
    fn a_short_password_is_refused() {
        assert!(check(&"123456789".into()).is_err());
        assert!(check(&"1234567890".into()).is_ok());
        assert!(check(&"x".repeat(513).into()).is_err());
    }
}
