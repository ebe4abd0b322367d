//! A person's logged-in browser.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::UserId;
use crate::models::user::User;
use crate::schema::{sessions, users};

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

impl Session {
    /// Adds one.
    ///
    /// # Errors
    /// The user does not exist, or the database fails.
    pub fn insert(conn: &mut Connection, new: &NewSession) -> Result<()> {
        diesel::insert_into(sessions::table)
            .values(new)
            .execute(conn)?;
        Ok(())
    }

    /// Whose session it is, unless it has ended.
    ///
    /// # Errors
    /// The database fails.
    pub fn user(conn: &mut Connection, token_hash: &str, now_ms: i64) -> Result<Option<User>> {
        Ok(users::table
            .inner_join(sessions::table)
            .filter(sessions::token_hash.eq(token_hash))
            .filter(sessions::expires_ms.gt(now_ms))
            .select(users::all_columns)
            .first(conn)
            .optional()?)
    }

    /// Ends the session of a token, if there is one.
    ///
    /// # Errors
    /// The database fails.
    pub fn delete(conn: &mut Connection, token_hash: &str) -> Result<()> {
        diesel::delete(sessions::table.filter(sessions::token_hash.eq(token_hash)))
            .execute(conn)?;
        Ok(())
    }

    /// Removes the ones that have ended.
    ///
    /// # Errors
    /// The database fails.
    pub fn delete_expired(conn: &mut Connection, now_ms: i64) -> Result<()> {
        diesel::delete(sessions::table.filter(sessions::expires_ms.le(now_ms))).execute(conn)?;
        Ok(())
    }
}
