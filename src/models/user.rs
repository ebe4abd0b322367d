//! A person who logs in.

use diesel::prelude::*;

use crate::models::named::named_queries;
use crate::models::{Role, UserId};
use crate::schema::users;

/// A person who logs in.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = users)]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// Unique name.
    pub name: String,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// What they may do.
    pub role: Role,
    /// Made at, ms.
    pub created_ms: i64,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`User`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
pub struct NewUser {
    /// See [`User::name`].
    pub name: String,
    /// See [`User::password_hash`].
    pub password_hash: String,
    /// See [`User::role`].
    pub role: Role,
    /// See [`User::created_ms`].
    pub created_ms: i64,
    /// See [`User::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(User, NewUser, UserId, users, "user");
