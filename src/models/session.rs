//! A person's logged-in browser.

use diesel::prelude::*;

use crate::models::UserId;
use crate::schema::sessions;

/// A person's logged-in browser.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = sessions)]
pub struct Session {
    /// Row id.
    pub id: i64,
    /// SHA-256 of the cookie's token, hex.
    pub token_hash: String,
    /// Whose.
    pub user_id: UserId,
    /// Made at, ms.
    pub created_ms: i64,
    /// Ends at, ms.
    pub expires_ms: i64,
}

/// What is written of a [`Session`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = sessions, treat_none_as_null = true)]
pub struct NewSession {
    /// See [`Session::token_hash`].
    pub token_hash: String,
    /// See [`Session::user_id`].
    pub user_id: UserId,
    /// See [`Session::created_ms`].
    pub created_ms: i64,
    /// See [`Session::expires_ms`].
    pub expires_ms: i64,
}
