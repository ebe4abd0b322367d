//! A person who logs in.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::named::named_queries;
use crate::models::{Role, UserId};
use crate::schema::{sessions, users};

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

impl User {
    /// How many there are.
    ///
    /// # Errors
    /// The database fails.
    pub fn count(conn: &mut Connection) -> Result<i64> {
        Ok(users::table.count().get_result(conn)?)
    }

    /// The user of a name, if there is one.
    ///
    /// # Errors
    /// The database fails.
    pub fn lookup(conn: &mut Connection, name: &str) -> Result<Option<Self>> {
        Ok(users::table
            .filter(users::name.eq(name))
            .first(conn)
            .optional()?)
    }

    /// Gives a user another password and ends all their sessions: whoever knew the old one is out.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_password(
        conn: &mut Connection,
        id: UserId,
        password_hash: &str,
        now_ms: i64,
    ) -> Result<()> {
        diesel::update(users::table.find(id))
            .set((
                users::password_hash.eq(password_hash),
                users::updated_ms.eq(now_ms),
            ))
            .execute(conn)?;
        diesel::delete(sessions::table.filter(sessions::user_id.eq(id))).execute(conn)?;
        Ok(())
    }
}
