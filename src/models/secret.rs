//! A secret, encrypted; only `vault/` reads it.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::SecretId;
use crate::models::named::named_queries;
use crate::schema::secrets;

/// A secret, encrypted; only `vault/` reads it.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = secrets)]
pub struct Secret {
    /// Row id.
    pub id: SecretId,
    /// Unique name.
    pub name: String,
    /// Which master key encrypts it.
    pub key_id: String,
    /// Random, 12 bytes, new at every encryption.
    pub nonce: Vec<u8>,
    /// AES-256-GCM, with the tag.
    pub ciphertext: Vec<u8>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Secret`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = secrets, treat_none_as_null = true)]
pub struct NewSecret {
    /// See [`Secret::name`].
    pub name: String,
    /// See [`Secret::key_id`].
    pub key_id: String,
    /// See [`Secret::nonce`].
    pub nonce: Vec<u8>,
    /// See [`Secret::ciphertext`].
    pub ciphertext: Vec<u8>,
    /// See [`Secret::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(Secret, NewSecret, SecretId, secrets, "secret");

impl Secret {
    /// What secrets there are, without their contents.
    ///
    /// # Errors
    /// The database fails.
    pub fn names(conn: &mut Connection) -> Result<Vec<(SecretId, String)>> {
        Ok(secrets::table
            .order(secrets::name)
            .select((secrets::id, secrets::name))
            .load(conn)?)
    }
}
