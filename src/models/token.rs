//! A key to the API.

use diesel::prelude::*;

use crate::models::Role;
use crate::schema::api_tokens;

/// A key to the API.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = api_tokens)]
pub struct ApiToken {
    /// Row id.
    pub id: i64,
    /// Unique name.
    pub name: String,
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// What it may do.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// Made at, ms.
    pub created_ms: i64,
    /// Ends at, ms; none = never.
    pub expires_ms: Option<i64>,
    /// Last seen at, ms.
    pub last_used_ms: Option<i64>,
}

/// What is written of a [`ApiToken`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = api_tokens, treat_none_as_null = true)]
pub struct NewApiToken {
    /// See [`ApiToken::name`].
    pub name: String,
    /// See [`ApiToken::token_hash`].
    pub token_hash: String,
    /// See [`ApiToken::role`].
    pub role: Role,
    /// See [`ApiToken::created_by`].
    pub created_by: String,
    /// See [`ApiToken::created_ms`].
    pub created_ms: i64,
    /// See [`ApiToken::expires_ms`].
    pub expires_ms: Option<i64>,
    /// See [`ApiToken::last_used_ms`].
    pub last_used_ms: Option<i64>,
}
