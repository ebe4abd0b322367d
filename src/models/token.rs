//! A key to the API.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
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

impl ApiToken {
    /// Every token, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(api_tokens::table.order(api_tokens::name).load(conn)?)
    }

    /// The token of a hash, if there is one; whether it has expired is for the caller to say.
    ///
    /// # Errors
    /// The database fails.
    pub fn by_hash(conn: &mut Connection, token_hash: &str) -> Result<Option<Self>> {
        Ok(api_tokens::table
            .filter(api_tokens::token_hash.eq(token_hash))
            .first(conn)
            .optional()?)
    }

    /// Adds one.
    ///
    /// # Errors
    /// The name is taken, or the database fails.
    pub fn insert(conn: &mut Connection, new: &NewApiToken) -> Result<Self> {
        let taken = api_tokens::table
            .filter(api_tokens::name.eq(&new.name))
            .count()
            .get_result::<i64>(conn)?;
        if taken > 0 {
            return Err(Error::Conflict(format!(
                "there is a token \"{}\" already; choose another name or delete that one",
                new.name
            )));
        }
        Ok(diesel::insert_into(api_tokens::table)
            .values(new)
            .returning(api_tokens::all_columns)
            .get_result(conn)?)
    }

    /// Notes that it was used.
    ///
    /// # Errors
    /// The database fails.
    pub fn used(conn: &mut Connection, id: i64, now_ms: i64) -> Result<()> {
        diesel::update(api_tokens::table.find(id))
            .set(api_tokens::last_used_ms.eq(now_ms))
            .execute(conn)?;
        Ok(())
    }

    /// Removes the token of a name; it opens nothing from now on.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn delete(conn: &mut Connection, name: &str) -> Result<()> {
        let gone =
            diesel::delete(api_tokens::table.filter(api_tokens::name.eq(name))).execute(conn)?;
        if gone == 0 {
            return Err(Error::NotFound(format!("token \"{name}\"")));
        }
        Ok(())
    }
}
