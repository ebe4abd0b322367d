//! Secrets at rest: AES-256-GCM under a master key. The only place that decrypts.
//!
//! Each secret carries the id of the key that encrypted it. The newest key of the file encrypts, the older ones go on decrypting until
//! [`Vault::rotate`] has moved everything to the newest. A secret's name is bound into its ciphertext, so that a row cannot be passed off
//! as another one.

mod ring;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead as _, Generate as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::SecretId;
use crate::models::secret::{NewSecret, Secret};
use ring::{Key, Ring};

/// The key ring; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    path: PathBuf,
    // Behind a lock, since a key may be added while processes run.
    ring: Arc<RwLock<Arc<Ring>>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the master key file; makes it, mode 0600, where there is none.
    ///
    /// # Errors
    /// The file is open to others, cannot be read or made, or holds something else than keys.
    pub fn open(path: &Path) -> Result<Self> {
        let ring = Arc::new(RwLock::new(Arc::new(Ring::open(path)?)));
        Ok(Self {
            path: path.to_owned(),
            ring,
        })
    }

    /// Where the keys are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a secret under a name, in place of what the name held.
    ///
    /// # Errors
    /// The database fails.
    pub fn put(
        &self,
        conn: &mut Connection,
        name: &str,
        secret: &SecretString,
        now_ms: i64,
    ) -> Result<SecretId> {
        let row = self.seal(name, secret.expose_secret().as_bytes(), now_ms)?;
        match Secret::by_name(conn, name) {
            Ok(present) => Secret::update(conn, present.id, &row).map(|()| present.id),
            Err(Error::NotFound(_)) => Secret::insert(conn, &row).map(|made| made.id),
            Err(other) => Err(other),
        }
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// There is none, its key is not in the file, or the row was tampered with.
    pub fn get(&self, conn: &mut Connection, id: SecretId) -> Result<SecretString> {
        self.read(&Secret::find(conn, id)?)
    }

    /// Reads a secret by its name.
    ///
    /// # Errors
    /// As [`Vault::get`].
    pub fn get_by_name(&self, conn: &mut Connection, name: &str) -> Result<SecretString> {
        self.read(&Secret::by_name(conn, name)?)
    }

    /// Adds a key to the file; from now on it encrypts. Processes that hold the old ring find the new key when they meet it.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn add_key(&self) -> Result<()> {
        self.replace(Ring::extend(&self.path)?);
        Ok(())
    }

    /// Encrypts every secret anew that the newest key does not hold yet; says how many. Afterwards the older lines of the file are of no more use.
    ///
    /// # Errors
    /// A secret cannot be decrypted, or the database fails; run in a transaction, nothing has changed then.
    pub fn rotate(&self, conn: &mut Connection, now_ms: i64) -> Result<usize> {
        self.replace(Ring::read(&self.path)?);
        let newest = newest(&self.ring())?.id.clone();
        let mut moved = 0;
        for row in Secret::all(conn)? {
            if row.key_id != newest {
                let secret = self.read(&row)?;
                let sealed = self.seal(&row.name, secret.expose_secret().as_bytes(), now_ms)?;
                Secret::update(conn, row.id, &sealed)?;
                moved += 1;
            }
        }
        Ok(moved)
    }

    fn seal(&self, name: &str, plain: &[u8], now_ms: i64) -> Result<NewSecret> {
        let ring = self.ring();
        let key = newest(&ring)?;
        // 96 random bits: safe for far more encryptions under one key than a vault ever sees.
        let nonce = Nonce::try_generate()
            .map_err(|cause| Error::internal("the system gave no random numbers", cause))?;
        let aad = name.as_bytes();
        let ciphertext = cipher(key)
            .encrypt(&nonce, Payload { msg: plain, aad })
            .map_err(|cause| Error::internal(format!("secret \"{name}\" not encrypted"), cause))?;
        Ok(NewSecret {
            name: name.to_owned(),
            key_id: key.id.clone(),
            nonce: nonce.to_vec(),
            ciphertext,
            updated_ms: now_ms,
        })
    }

    fn read(&self, row: &Secret) -> Result<SecretString> {
        let mut ring = self.ring();
        if ring.by_id(&row.key_id).is_none() {
            // Another process may have added a key since this one started.
            self.replace(Ring::read(&self.path)?);
            ring = self.ring();
        }
        let key = ring.by_id(&row.key_id).ok_or_else(|| {
            Error::Internal(format!(
                "secret \"{}\" was encrypted with the key {}, which is not in {}; restore that line from a copy, or set the secret anew",
                row.name,
                row.key_id,
                self.path.display()
            ))
        })?;
        open(key, row).ok_or_else(|| {
            Error::Internal(format!(
                "secret \"{}\" is damaged: its row was changed by something else than Headroom; set the secret anew",
                row.name
            ))
        })
    }

    fn ring(&self) -> Arc<Ring> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&ring)
    }

    fn replace(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

fn newest(ring: &Ring) -> Result<&Key> {
    ring.newest()
        .ok_or_else(|| Error::Internal("the key ring is empty".into()))
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new(key.bytes.expose_secret().into())
}

fn open(key: &Key, row: &Secret) -> Option<SecretString> {
    let nonce = Nonce::try_from(row.nonce.as_slice()).ok()?;
    let payload = Payload {
        msg: &row.ciphertext,
        aad: row.name.as_bytes(),
    };
    let plain = Zeroizing::new(cipher(key).decrypt(&nonce, payload).ok()?);
    std::str::from_utf8(&plain).ok().map(SecretString::from)
}

#[cfg(test)]
mod tests;
