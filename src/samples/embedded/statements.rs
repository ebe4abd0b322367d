//! The two statements that every reading needs. Diesel's own `UPDATE` and `ON CONFLICT` are parsed anew at each use, which took more time than
//! all the rest of a write; these have one text each, and SQLite parses it once.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::samples::Write;

/// Writes the state of a series, if there is one of that id. Without a value the last one stays.
pub(super) struct UpdateState<'w> {
    id: i64,
    write: &'w Write,
    last_ms: Option<i64>,
    last_value: Option<f64>,
    since_ms: Option<i64>,
    count: Option<i64>,
    breach_ms: Option<i64>,
    fault: Option<Cow<'w, str>>,
}

impl<'w> UpdateState<'w> {
    /// The statement for a reading of the series with this id.
    pub fn new(id: i64, write: &'w Write) -> Self {
        let kept = write.kept();
        let breach = write.breach;
        Self {
            id,
            write,
            last_ms: kept.is_ok().then_some(write.tick_ms),
            last_value: kept.as_ref().ok().copied(),
            since_ms: breach.map(|breach| breach.since_ms),
            count: breach.map(|breach| breach.count.into()),
            breach_ms: breach.map(|breach| breach.last_ms),
            fault: kept.err(),
        }
    }
}

impl QueryFragment<Sqlite> for UpdateState<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE series SET tick_ms = ");
        out.push_bind_param::<BigInt, _>(&self.write.tick_ms)?;
        out.push_sql(", measured_ms = ");
        out.push_bind_param::<BigInt, _>(&self.write.measured_ms)?;
        out.push_sql(", took_ms = ");
        out.push_bind_param::<BigInt, _>(&self.write.took_ms)?;
        out.push_sql(", last_ms = coalesce(");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.last_ms)?;
        out.push_sql(", last_ms), last_value = coalesce(");
        out.push_bind_param::<Nullable<Double>, _>(&self.last_value)?;
        out.push_sql(", last_value), breach_since_ms = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.since_ms)?;
        out.push_sql(", breach_count = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.count)?;
        out.push_sql(", breach_last_ms = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.breach_ms)?;
        out.push_sql(", fault = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.fault)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<BigInt, _>(&self.id)
    }
}

impl QueryId for UpdateState<'_> {
    type QueryId = UpdateState<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for UpdateState<'_> {}

/// Appends a record to a chunk, or begins the chunk with it. Touches no row if the chunk already has a sample of that second or a later one.
pub(super) struct AppendSample {
    /// See [`super::tables::chunk_key`].
    pub key: i64,
    /// See [`crate::samples::chunk::record`].
    pub record: [u8; 10],
}

impl QueryFragment<Sqlite> for AppendSample {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO chunks (key, data) VALUES (");
        out.push_bind_param::<BigInt, _>(&self.key)?;
        out.push_sql(", ");
        out.push_bind_param::<Binary, [u8]>(&self.record)?;
        // The first two bytes of a record are its second, big-endian: bytes compare as numbers. `||` makes a text of two blobs.
        out.push_sql(
            ") ON CONFLICT (key) DO UPDATE SET data = CAST(data || excluded.data AS BLOB) \
             WHERE substr(data, -10, 2) < substr(excluded.data, 1, 2)",
        );
        Ok(())
    }
}

impl QueryId for AppendSample {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for AppendSample {}
