//! Time-boxed stops.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::paging::Wanted;
use super::{ok, time};
use crate::app::App;
use crate::config::parse_duration;
use crate::error::{Error, Result};
use crate::models::hold::{self, Hold as Row, NEVER_MS};
use crate::models::{HoldId, HoldScope, from_ms, to_ms};
use crate::web::auth::Caller;
use crate::web::error::Answer;
use crate::web::stops;

/// A time-boxed stop.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Hold {
    /// Its number.
    #[schema(value_type = i64)]
    pub id: HoldId,
    /// What kind of thing is held.
    pub scope: HoldScope,
    /// Which one; null for everything.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
    /// Who.
    pub author: String,
    /// Whether it stops anything now.
    pub active: bool,
    /// Since when.
    pub created: DateTime<Utc>,
    /// When it ends by itself.
    pub expires: DateTime<Utc>,
    /// When it was ended early.
    pub lifted: Option<DateTime<Utc>>,
    /// Who ended it early.
    pub lifted_by: Option<String>,
}

/// A hold to begin. Its end is either `expires` or `for`; a `stop` (for admins) may leave both out, and lasts until it is lifted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// What kind of thing to hold.
    scope: HoldScope,
    /// Which one; left out for everything.
    name: Option<String>,
    /// Why.
    reason: String,
    /// When it ends by itself.
    expires: Option<DateTime<Utc>>,
    /// How long it lasts: `30m`, `8h`.
    #[serde(rename = "for")]
    lasts: Option<String>,
}

/// Which holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    active: Option<bool>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /holds`.
///
/// # Errors
/// The query makes no sense, or the database fails.
pub async fn list(app: Data<App>, filter: Query<Filter>) -> Answer {
    let Filter {
        active,
        limit,
        cursor,
    } = filter.into_inner();
    let wanted = Wanted::new(limit, cursor)?;
    let (before, count) = (wanted.before_id()?.map(HoldId), wanted.rows());
    let now_ms = to_ms(Utc::now());
    let rows = app
        .db
        .read(move |conn| {
            if active != Some(true) {
                return Row::page(conn, before, count);
            }
            let mut rows = Row::active(conn, now_ms)?;
            rows.sort_by_key(|row| std::cmp::Reverse(row.id));
            rows.retain(|row| before.is_none_or(|before| row.id < before));
            Ok(rows)
        })
        .await?;
    let id = |row: &Row| row.id.to_string();
    let page = wanted.page(rows, id, |row| Ok(hold(row, now_ms)))?;
    Ok(ok(&page))
}

/// `POST /holds`.
///
/// # Errors
/// The thing to hold does not exist, the end is not ahead, or the database fails.
pub async fn begin(app: Data<App>, caller: Caller, body: Json<NewHold>) -> Answer {
    let body = body.into_inner();
    let now_ms = to_ms(Utc::now());
    let request = hold::Request {
        expires_ms: end_ms(&body, now_ms)?,
        scope: body.scope,
        scope_name: body.name,
        reason: body.reason,
        author: caller.name.clone(),
    };
    let row = stops::begin_hold(&app, &caller, request).await?;
    Ok(HttpResponse::Created().json(hold(row, now_ms)))
}

/// `DELETE /holds/{id}`: ends it before its time. It stays in the list.
///
/// # Errors
/// It does not exist or is over, or the database fails.
pub async fn lift(app: Data<App>, caller: Caller, id: Path<i64>) -> Answer {
    let now_ms = to_ms(Utc::now());
    let row = stops::lift_hold(&app, &caller, HoldId(id.into_inner())).await?;
    Ok(ok(&hold(row, now_ms)))
}

fn end_ms(body: &NewHold, now_ms: i64) -> Result<i64> {
    match (body.expires, &body.lasts) {
        (Some(expires), None) => Ok(to_ms(expires)),
        (None, Some(lasts)) => {
            let lasts = parse_duration(lasts).map_err(|why| Error::invalid("for", why))?;
            let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
            Ok(now_ms.saturating_add(lasts_ms))
        }
        (None, None) if body.scope == HoldScope::Stop => Ok(NEVER_MS),
        _ => Err(Error::invalid(
            "expires",
            "give either expires (a time) or for (such as 8h), so that the hold ends by itself",
        )),
    }
}

fn hold(row: Row, now_ms: i64) -> Hold {
    Hold {
        id: row.id,
        active: row.is_active(now_ms),
        scope: row.scope,
        name: row.scope_name,
        reason: row.reason,
        author: row.author,
        created: from_ms(row.created_ms),
        expires: from_ms(row.expires_ms),
        lifted: time(row.lifted_ms),
        lifted_by: row.lifted_by,
    }
}
