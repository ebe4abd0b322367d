//! Who changed what.

use actix_web::web::{Data, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::paging::Wanted;
use super::{ok, stored_json};
use crate::app::App;
use crate::error::Result;
use crate::models::audit::AuditEvent as Row;
use crate::models::{Via, from_ms};
use crate::web::error::Answer;

/// A state change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditEvent {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// By which way.
    pub via: Via,
    /// What was done.
    pub verb: String,
    /// To what: kind and name.
    pub object: String,
    /// Before; secrets as "changed".
    pub before: Option<Value>,
    /// After; secrets as "changed".
    pub after: Option<Value>,
}

impl TryFrom<Row> for AuditEvent {
    type Error = crate::error::Error;

    fn try_from(row: Row) -> Result<Self> {
        let state = |text: Option<String>| {
            text.map(|text| stored_json("an audit event", &text))
                .transpose()
        };
        Ok(Self {
            id: row.id,
            at: from_ms(row.at_ms),
            actor: row.actor,
            via: row.via,
            verb: row.verb,
            object: row.object,
            before: state(row.before)?,
            after: state(row.after)?,
        })
    }
}

/// Which events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    object: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /audit`.
///
/// # Errors
/// The query makes no sense, or the database fails.
pub async fn list(app: Data<App>, filter: Query<Filter>) -> Answer {
    let Filter {
        object,
        limit,
        cursor,
    } = filter.into_inner();
    let wanted = Wanted::new(limit, cursor)?;
    let (before, rows) = (wanted.before_id()?, wanted.rows());
    let rows = app
        .db
        .read(move |conn| Row::page(conn, before, object.as_deref(), rows))
        .await?;
    let page = wanted.page(rows, |row| row.id.to_string(), AuditEvent::try_from)?;
    Ok(ok(&page))
}
