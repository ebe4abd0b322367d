//! The login form, and logging out.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::Utc;
use secrecy::SecretString;
use serde::Deserialize;

use crate::app::App;
use crate::models::user::User;
use crate::web::auth::{Throttle, password, session};
use crate::web::error::Answer;
use crate::web::peer::Peer;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    name: &'a str,
    next: &'a str,
    fault: Option<String>,
    /// Whether the password of the first start is still to be found.
    first_login: bool,
}

/// Where to go after the login.
#[derive(Deserialize)]
pub struct Next {
    next: Option<String>,
}

/// The filled-in form.
#[derive(Deserialize)]
pub struct Login {
    name: String,
    password: SecretString,
    next: Option<String>,
}

/// `GET /login`.
///
/// # Errors
/// The database fails.
pub async fn form(app: web::Data<App>, req: HttpRequest, query: web::Query<Next>) -> Answer {
    let next = own_path(query.next.as_deref());
    let now_ms = Utc::now().timestamp_millis();
    if session::user(&app.db, &req, now_ms).await?.is_some() {
        return Ok(see_other(next));
    }
    page(&app, StatusCode::OK, "", next, None)
}

/// `POST /login`.
///
/// # Errors
/// The database fails.
pub async fn submit(
    app: web::Data<App>,
    throttle: web::Data<Throttle>,
    req: HttpRequest,
    form: web::Form<Login>,
) -> Answer {
    let Login {
        name,
        password,
        next,
    } = form.into_inner();
    let next = own_path(next.as_deref());
    let peer = Peer::of(&req, &app.config.http);
    let now_ms = Utc::now().timestamp_millis();
    let wait_ms = throttle.wait_ms(&name, peer.address, now_ms);
    if wait_ms > 0 {
        let mut answer = page(
            &app,
            StatusCode::TOO_MANY_REQUESTS,
            &name,
            next,
            Some(slow_down(wait_ms)),
        )?;
        answer.headers_mut().insert(
            header::RETRY_AFTER,
            header::HeaderValue::from(seconds(wait_ms)),
        );
        return Ok(answer);
    }
    let wanted = name.clone();
    let user = app.db.read(move |conn| User::lookup(conn, &wanted)).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = password::verify(password, hash).await?;
    let Some(user) = user.filter(|_| right) else {
        throttle.failed(&name, peer.address, now_ms);
        tracing::warn!(user.name = name, peer = %peer.address, "a login failed");
        let fault = "Name and password do not match. Names and passwords are case-sensitive.";
        return page(
            &app,
            StatusCode::UNAUTHORIZED,
            &name,
            next,
            Some(fault.into()),
        );
    };
    throttle.succeeded(&name);
    let cookie = session::begin(&app.db, &req, &user, peer.https, now_ms).await?;
    tracing::info!(user.name = name, peer = %peer.address, "logged in");
    let mut answer = see_other(next);
    answer.add_cookie(&cookie).map_err(|cause| {
        crate::error::Error::internal("could not set the session cookie", cause)
    })?;
    Ok(answer)
}

/// `POST /logout`.
///
/// # Errors
/// The database fails.
pub async fn logout(app: web::Data<App>, req: HttpRequest) -> Answer {
    let peer = Peer::of(&req, &app.config.http);
    let cookie = session::end(&app.db, &req, peer.https).await?;
    let mut answer = see_other("/login");
    answer.add_cookie(&cookie).map_err(|cause| {
        crate::error::Error::internal("could not remove the session cookie", cause)
    })?;
    Ok(answer)
}

fn page(app: &App, status: StatusCode, name: &str, next: &str, fault: Option<String>) -> Answer {
    let page = LoginPage {
        name,
        next,
        fault,
        first_login: app.config.auth.initial_password_file.exists(),
    };
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address.to_owned()))
        .finish()
}

/// A path of ours, never another site: `//host` and `/\host` are other sites to a browser.
fn own_path(next: Option<&str>) -> &str {
    next.filter(|path| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            && !path.contains(|letter: char| letter.is_control())
    })
    .unwrap_or("/")
}

fn seconds(wait_ms: i64) -> i64 {
    wait_ms / 1_000 + i64::from(wait_ms % 1_000 > 0)
}

fn slow_down(wait_ms: i64) -> String {
    let wait = seconds(wait_ms);
    let unit = if wait == 1 { "second" } else { "seconds" };
    format!(
        "Too many attempts failed. Wait {wait} {unit} and try again; this attempt was not looked at."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_to_another_site() {
        for (next, goes) in [
            (Some("/runs/7?x=1"), "/runs/7?x=1"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a\r\nSet-Cookie: x"), "/"),
            (Some(""), "/"),
            (None, "/"),
        ] {
            assert_eq!(own_path(next), goes, "{next:?}");
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        assert_eq!(seconds(1), 1);
        assert_eq!(seconds(1_000), 1);
        assert_eq!(seconds(1_001), 2);
        assert!(slow_down(900).contains("Wait 1 second and"));
    }
}
