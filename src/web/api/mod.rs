//! The HTTP API, `/api/v1`: JSON in and out, times as RFC 3339 in UTC, lists as `{"items", "next"}`, refusals as problem documents.
//!
//! `table.rs` is both the list of routes and their description, so that neither can say what the other does not.

mod audit;
mod backtest;
mod breakers;
mod decisions;
mod fleet;
mod history;
mod holds;
mod instances;
mod mbeans;
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
use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use operation::Operation;
pub use paging::Page;

use crate::error::{Error, Result};
use crate::models::from_ms;
use crate::web::error::Failure;

/// Where the API begins.
pub const ROOT: &str = "/api/v1";

/// 200 with a body.
fn ok(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(body)
}

/// A body that may be left out; one that is there must be right.
fn optional<T: Default + DeserializeOwned>(body: &Bytes) -> std::result::Result<T, Failure> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|cause| {
        Failure::bad_request(format!("The body is not what was expected: {cause}"))
    })
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

/// RFC 3339, or milliseconds since 1970.
fn instant(path: &str, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(ms) = text.parse() {
        return Ok(Some(ms));
    }
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| {
        Error::invalid(
            path,
            format!("\"{text}\" is neither a time such as 2026-01-31T12:00:00Z nor milliseconds since 1970"),
        )
    })?;
    Ok(Some(parsed.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_a_number() {
        assert_eq!(instant("from", Some("1000")).unwrap(), Some(1_000));
        let date = instant("from", Some("1970-01-01T00:00:01+00:00")).unwrap();
        assert_eq!(date, Some(1_000));
        assert_eq!(instant("from", None).unwrap(), None);
        let refusal = instant("from", Some("yesterday")).unwrap_err().to_string();
        assert!(refusal.starts_with("from: \"yesterday\" is neither a time"));
    }
}
