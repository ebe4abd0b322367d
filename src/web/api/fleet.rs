//! The whole fleet in one document.

use actix_web::http::header::{self, ContentType};
use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::ok;
use crate::app::App;
use crate::error::Error;
use crate::fleet::{self, Options};
use crate::web::auth::Caller;
use crate::web::commands;
use crate::web::error::{Answer, Failure};

/// Media types of a fleet file.
pub const KINDS: &[&str] = &["application/yaml", "application/json"];

/// How the file is applied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    prune: bool,
}

/// `GET /fleet`: YAML, or JSON for whoever prefers it.
///
/// # Errors
/// The database fails.
pub async fn export(app: Data<App>, req: HttpRequest) -> Answer {
    let file = app.db.read(fleet::export).await?;
    let wants = req.headers().get(header::ACCEPT);
    let wants = wants.and_then(|it| it.to_str().ok()).unwrap_or_default();
    if wants.contains("json") {
        return Ok(ok(&file));
    }
    Ok(HttpResponse::Ok()
        .content_type("application/yaml; charset=utf-8")
        .body(file.to_yaml()?))
}

/// `PUT /fleet`: YAML or JSON, whatever the content type says, since JSON is YAML.
///
/// # Errors
/// Every fault of the file at once, or the database fails; then nothing was changed.
pub async fn apply(app: Data<App>, caller: Caller, how: Query<How>, body: Bytes) -> Answer {
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| Failure::bad_request("The fleet file must be text in UTF-8."))?;
    let options = Options {
        dry_run: how.dry_run,
        prune: how.prune,
    };
    let context = commands::context(&app, &caller);
    let diff = app
        .db
        .write(move |conn| fleet::apply_text(conn, &context, &text, options))
        .await?;
    let body = serde_json::to_vec(&diff)
        .map_err(|cause| Error::internal("could not write what has changed", cause))?;
    Ok(HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(body))
}
