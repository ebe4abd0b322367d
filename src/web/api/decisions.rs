//! Why a trigger acted, or did not.

use std::collections::BTreeMap;

use actix_web::web::{Data, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::paging::Wanted;
use super::{ok, stored_json};
use crate::app::App;
use crate::error::Result;
use crate::models::decision::Decision as Row;
use crate::models::trigger::Trigger;
use crate::models::{DecisionId, Outcome, RunId, TriggerId, from_ms};
use crate::web::error::Answer;

/// Evaluations of a trigger in a row that came to the same.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Decision {
    /// Its number.
    #[schema(value_type = i64)]
    pub id: DecisionId,
    /// The trigger.
    pub trigger: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// First tick of the stretch.
    pub first: DateTime<Utc>,
    /// Last tick of the stretch.
    pub last: DateTime<Utc>,
    /// How many ticks.
    pub count: i64,
    /// The run it started.
    #[schema(value_type = Option<i64>)]
    pub run: Option<RunId>,
    /// Gates and inputs as they were at the last tick.
    pub detail: Value,
}

/// Which decisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    trigger: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /decisions`.
///
/// # Errors
/// The trigger does not exist, the query makes no sense, or the database fails.
pub async fn list(app: Data<App>, filter: Query<Filter>) -> Answer {
    let Filter {
        trigger,
        limit,
        cursor,
    } = filter.into_inner();
    let wanted = Wanted::new(limit, cursor)?;
    let before = wanted.before_id()?.map(DecisionId);
    let count = wanted.rows();
    let (rows, names) = app
        .db
        .read(move |conn| {
            let triggers = Trigger::all(conn)?;
            let only = match trigger {
                Some(name) => Some(Trigger::by_name(conn, &name)?.id),
                None => None,
            };
            let rows = Row::page(conn, only, before, count)?;
            let names = triggers.into_iter().map(|row| (row.id, row.name));
            Ok((rows, names.collect::<BTreeMap<_, _>>()))
        })
        .await?;
    let id = |row: &Row| row.id.to_string();
    let page = wanted.page(rows, id, |row| decision(row, &names))?;
    Ok(ok(&page))
}

fn decision(row: Row, names: &BTreeMap<TriggerId, String>) -> Result<Decision> {
    Ok(Decision {
        id: row.id,
        trigger: names.get(&row.trigger_id).cloned().unwrap_or_default(),
        outcome: row.outcome,
        reason: row.reason,
        first: from_ms(row.first_ms),
        last: from_ms(row.last_ms),
        count: row.count,
        run: row.run_id,
        detail: stored_json("a decision", &row.detail)?,
    })
}
