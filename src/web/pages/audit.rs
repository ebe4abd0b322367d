//! `/audit`: every change, by whom and by which way, the latest first.

use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;

use crate::models::audit::AuditEvent;
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::Moment;

/// Rows of a page.
const ROWS: i64 = 50;

/// A change in one line.
struct EventLine {
    id: i64,
    at: Moment,
    actor: String,
    via: &'static str,
    verb: String,
    object: String,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    layout: Layout,
    object: String,
    events: Vec<EventLine>,
    older: Option<String>,
    newest: Option<String>,
}

/// What the address asks for.
#[derive(Deserialize)]
pub struct Wish {
    #[serde(default)]
    object: String,
    before: Option<i64>,
}

/// `GET /audit`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Audit, "Audit").await?;
    let (object, before) = (wish.object.trim().to_owned(), wish.before);
    let wanted = (!object.is_empty()).then(|| object.clone());
    let mut events = visit
        .app
        .db
        .read(move |conn| AuditEvent::page(conn, before, wanted.as_deref(), ROWS + 1))
        .await?;
    let size = usize::try_from(ROWS).unwrap_or(usize::MAX);
    let more = events.len() > size;
    events.truncate(size);
    let path = |before: Option<i64>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("object", &object);
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        format!("/audit?{}", query.finish())
    };
    visit.show(&AuditPage {
        older: events
            .last()
            .filter(|_| more)
            .map(|last| path(Some(last.id))),
        newest: before.map(|_| path(None)),
        events: events
            .into_iter()
            .map(|event| line(event, &visit))
            .collect(),
        object: object.clone(),
        layout,
    })
}

fn line(event: AuditEvent, visit: &Visit) -> EventLine {
    EventLine {
        id: event.id,
        at: visit.moment(event.at_ms),
        actor: event.actor,
        via: event.via.as_str(),
        verb: event.verb,
        object: event.object,
        before: event.before.map(pretty).unwrap_or_default(),
        after: event.after.map(pretty).unwrap_or_default(),
    }
}

/// JSON in lines, as a person reads it.
fn pretty(json: String) -> String {
    serde_json::from_str::<serde_json::Value>(&json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or(json)
}
