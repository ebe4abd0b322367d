//! A key that a host showed.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::HostKeyState;
use crate::schema::host_keys;

/// A key that a host showed.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = host_keys)]
pub struct HostKey {
    /// Row id.
    pub id: i64,
    /// The host as it is dialled.
    pub address: String,
    /// TCP port.
    pub port: i32,
    /// The jump host that it is reached through, `host:port`; empty = none. Behind another one the same address is another machine.
    pub through: String,
    /// Whether it is trusted.
    pub state: HostKeyState,
    /// As in known_hosts: `ssh-ed25519`.
    pub key_type: String,
    /// The key blob, base64.
    pub key_base64: String,
    /// First shown at, ms.
    pub seen_ms: i64,
    /// Who accepted it; none = first use.
    pub accepted_by: Option<String>,
}

/// What is written of a [`HostKey`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = host_keys, treat_none_as_null = true)]
pub struct NewHostKey {
    /// See [`HostKey::address`].
    pub address: String,
    /// See [`HostKey::port`].
    pub port: i32,
    /// See [`HostKey::through`].
    pub through: String,
    /// See [`HostKey::state`].
    pub state: HostKeyState,
    /// See [`HostKey::key_type`].
    pub key_type: String,
    /// See [`HostKey::key_base64`].
    pub key_base64: String,
    /// See [`HostKey::seen_ms`].
    pub seen_ms: i64,
    /// See [`HostKey::accepted_by`].
    pub accepted_by: Option<String>,
}

impl HostKey {
    /// The keys that changed and wait for a person.
    ///
    /// # Errors
    /// The database fails.
    pub fn offered(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(host_keys::table
            .filter(host_keys::state.eq(HostKeyState::Offered))
            .order((host_keys::address, host_keys::port, host_keys::through))
            .load(conn)?)
    }

    /// The keys known of an address, the accepted one of each host first.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_host(conn: &mut Connection, address: &str) -> Result<Vec<Self>> {
        Ok(host_keys::table
            .filter(host_keys::address.eq(address))
            .order((host_keys::port, host_keys::through, host_keys::state))
            .load(conn)?)
    }

    /// The key of a host in a state, if any.
    ///
    /// # Errors
    /// The database fails.
    pub fn find_state(
        conn: &mut Connection,
        address: &str,
        port: i32,
        through: &str,
        state: HostKeyState,
    ) -> Result<Option<Self>> {
        Ok(host_keys::table
            .filter(host_keys::address.eq(address))
            .filter(host_keys::port.eq(port))
            .filter(host_keys::through.eq(through))
            .filter(host_keys::state.eq(state))
            .first(conn)
            .optional()?)
    }

    /// Writes a key in place of the one the host has in the same state.
    ///
    /// # Errors
    /// The database fails.
    pub fn put(conn: &mut Connection, new: &NewHostKey) -> Result<()> {
        let old = host_keys::table
            .filter(host_keys::address.eq(&new.address))
            .filter(host_keys::port.eq(new.port))
            .filter(host_keys::through.eq(&new.through))
            .filter(host_keys::state.eq(new.state));
        diesel::delete(old).execute(conn)?;
        diesel::insert_into(host_keys::table)
            .values(new)
            .execute(conn)?;
        Ok(())
    }

    /// Trusts a key that a host offers in place of the one that was trusted: a person judged it.
    ///
    /// # Errors
    /// It is not offered any more, or the database fails.
    pub fn accept(conn: &mut Connection, id: i64, by: &str) -> Result<Self> {
        let offered = host_keys::table
            .find(id)
            .filter(host_keys::state.eq(HostKeyState::Offered))
            .first::<Self>(conn)
            .optional()?
            .ok_or_else(|| Error::NotFound(format!("a changed host key {id}")))?;
        diesel::delete(host_keys::table.find(id)).execute(conn)?;
        let accepted = NewHostKey {
            address: offered.address.clone(),
            port: offered.port,
            through: offered.through.clone(),
            state: HostKeyState::Accepted,
            key_type: offered.key_type.clone(),
            key_base64: offered.key_base64.clone(),
            seen_ms: offered.seen_ms,
            accepted_by: Some(by.to_owned()),
        };
        Self::put(conn, &accepted)?;
        Ok(offered)
    }
}
