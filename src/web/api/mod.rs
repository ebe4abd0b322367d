//! The HTTP API, `/api/v1`: JSON in and out, times as RFC 3339 in UTC, lists as `{"items", "next"}`, refusals as problem documents.
//!
//! `table.rs` is both the list of routes and their description, so that neither can say what the other does not.

mod audit;
mod decisions;
mod fleet;
mod holds;
mod objects;
mod openapi;
mod operation;
mod paging;
mod runs;
mod series;
mod status;
pub mod table;
mod tasks;

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

pub use operation::Operation;
pub use paging::Page;

use crate::error::{Error, Result};
use crate::models::from_ms;

/// Where the API begins.
pub const ROOT: &str = "/api/v1";

/// 200 with a body.
fn ok(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(body)
}

/// An instant that may not have come.
fn time(ms: Option<i64>) -> Option<DateTime<Utc>> {
    ms.map(from_ms)
}

/// JSON that the database keeps as text.
fn stored_json(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|cause| Error::internal(format!("{what} in the database is damaged"), cause))
}
