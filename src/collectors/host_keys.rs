//! The keys of first use, in the database. Read at every connect: connects are rare, and a key that was accepted or removed on a page of
//! another process counts at once.

use chrono::Utc;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::clients::ssh::{HostKey, HostKeys, Place};
use crate::db::{Connection, Db};
use crate::error::{Error, Result};
use crate::models::host_key::{HostKey as Row, NewHostKey};
use crate::models::{HostKeyState, to_ms};

/// Remembers host keys in the database.
#[derive(Clone)]
pub struct RememberedKeys {
    db: Db,
}

impl RememberedKeys {
    /// Keys in this database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

impl HostKeys for RememberedKeys {
    fn accepted<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Option<HostKey>>> {
        let place = place.clone();
        self.db.read(move |conn| stored(conn, &place)).boxed()
    }

    fn remember<'a>(
        &'a self,
        place: &'a Place,
        key: &'a HostKey,
    ) -> BoxFuture<'a, Result<HostKey>> {
        let row = row(place, HostKeyState::Accepted, key);
        let (place, key) = (place.clone(), key.clone());
        self.db
            .write(move |conn| {
                if let Some(known) = stored(conn, &place)? {
                    return Ok(known);
                }
                Row::put(conn, &row)?;
                Ok(key)
            })
            .boxed()
    }

    fn offered<'a>(&'a self, place: &'a Place, key: &'a HostKey) -> BoxFuture<'a, Result<()>> {
        let row = row(place, HostKeyState::Offered, key);
        self.db
            .write(move |conn| {
                let state = HostKeyState::Offered;
                let known = Row::find_state(conn, &row.address, row.port, &row.through, state)?;
                // Each attempt shows it again; when it was first seen is worth more than when last.
                if known.is_some_and(|known| known.key_base64 == row.key_base64) {
                    return Ok(());
                }
                Row::put(conn, &row)
            })
            .boxed()
    }
}

fn stored(conn: &mut Connection, place: &Place) -> Result<Option<HostKey>> {
    let Place {
        address,
        port,
        through,
    } = place;
    let state = HostKeyState::Accepted;
    let row = Row::find_state(conn, address, i32::from(*port), through, state)?;
    row.map(|row| {
        HostKey::from_base64(&row.key_base64).ok_or_else(|| {
            Error::Internal(format!("the stored host key of {address} is no base64"))
        })
    })
    .transpose()
}

fn row(place: &Place, state: HostKeyState, key: &HostKey) -> NewHostKey {
    NewHostKey {
        address: place.address.clone(),
        port: i32::from(place.port),
        through: place.through.clone(),
        state,
        key_type: key.key_type().to_owned(),
        key_base64: key.to_base64(),
        seen_ms: to_ms(Utc::now()),
        accepted_by: None,
    }
}
