//! `/account`: who one is, and one's password. Also the choice of light or dark.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::Form;
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::error::{Error, Fault};
use crate::models::Via;
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::user::User;
use crate::web::auth::password;
use crate::web::error::Answer;
use crate::web::pages::{Flash, Layout, Nav, Theme, Visit};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    layout: Layout,
    may: &'static str,
    faults: Vec<Fault>,
    min_length: usize,
}

impl AccountPage {
    /// The message at a field.
    fn fault(&self, field: &str) -> Option<&str> {
        let found = self.faults.iter().find(|fault| fault.path == field);
        found.map(|fault| fault.message.as_str())
    }
}

/// `GET /account`.
///
/// # Errors
/// The database fails.
pub async fn show(visit: Visit) -> Answer {
    let page = page(&visit, Vec::new()).await?;
    visit.show(&page)
}

async fn page(visit: &Visit, faults: Vec<Fault>) -> crate::error::Result<AccountPage> {
    use crate::models::Role;
    Ok(AccountPage {
        layout: visit.layout(Nav::Account, "Account").await?,
        may: match visit.caller.role {
            Role::Viewer => "sees everything but secrets",
            Role::Operator => {
                "sees everything but secrets; runs, cancels, retries, resolves and holds"
            }
            Role::Admin => "may do everything, also define and manage users, tokens and keys",
        },
        faults,
        min_length: password::MIN_LENGTH,
    })
}

/// The filled-in form.
#[derive(Deserialize)]
pub struct Change {
    current: SecretString,
    new: SecretString,
    again: SecretString,
}

/// `POST /account/password`: changes it and ends every session of the user.
///
/// # Errors
/// The caller is no user, or the database fails.
pub async fn change_password(visit: Visit, form: Form<Change>) -> Answer {
    let form = form.into_inner();
    let name = visit.caller.name.clone();
    let user = visit
        .app
        .db
        .read(move |conn| User::by_name(conn, &name))
        .await?;
    let mut faults = Vec::new();
    if !password::verify(form.current, Some(user.password_hash)).await? {
        faults.push(Fault::new("current", "is not your password"));
    }
    if let Err(cause) = password::check(&form.new) {
        faults.push(Fault::new("new", fault_text(&cause)));
    }
    if form.new.expose_secret() != form.again.expose_secret() {
        faults.push(Fault::new("again", "is not the same as the new password"));
    }
    if !faults.is_empty() {
        let page = page(&visit, faults).await?;
        let mut answer = visit.show(&page)?;
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(answer);
    }
    let new = form.new;
    let hash = tokio::task::spawn_blocking(move || password::hash(&new))
        .await
        .map_err(|cause| Error::internal("could not hash a password", cause))??;
    let now_ms = visit.now_ms;
    let event = NewAuditEvent {
        at_ms: now_ms,
        actor: user.name.clone(),
        via: Via::Page,
        verb: "change password".to_owned(),
        object: format!("user {}", user.name),
        before: None,
        after: None,
    };
    visit
        .app
        .db
        .write(move |conn| {
            User::set_password(conn, user.id, &hash, now_ms)?;
            AuditEvent::record(conn, &event)
        })
        .await?;
    visit.go(
        "/login",
        &Flash::done("The password is changed. Log in with the new one."),
    )
}

/// The message of a refused password without its path.
fn fault_text(cause: &Error) -> String {
    match cause {
        Error::Invalid(faults) => faults
            .iter()
            .map(|fault| fault.message.clone())
            .collect::<Vec<_>>()
            .join("; "),
        other => other.to_string(),
    }
}

/// The pressed button.
#[derive(Deserialize)]
pub struct Choice {
    theme: Theme,
}

/// `POST /theme`: remembers light, dark or as the system says, in the browser; back to where the button was.
///
/// # Errors
/// The cookie cannot be set.
pub async fn choose_theme(visit: Visit, req: HttpRequest, form: Form<Choice>) -> Answer {
    let mut answer = HttpResponse::SeeOther()
        .insert_header((header::LOCATION, came_from(&req)))
        .finish();
    answer
        .add_cookie(&form.theme.cookie(visit.https))
        .map_err(|cause| Error::internal("could not set a cookie", cause))?;
    Ok(answer)
}

/// The page of our own that the request came from, else the start.
fn came_from(req: &HttpRequest) -> String {
    let referer = req.headers().get(header::REFERER);
    let referer = referer.and_then(|value| value.to_str().ok());
    referer
        .and_then(|text| url::Url::parse(text).ok())
        .map_or_else(
            || "/".to_owned(),
            |url| match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            },
        )
        // `//host` would lead elsewhere.
        .replacen("//", "/", 1)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_way_back_stays_on_our_own_pages() {
        let from = |referer: &str| {
            came_from(
                &TestRequest::default()
                    .insert_header((header::REFERER, referer))
                    .to_http_request(),
            )
        };
        assert_eq!(from("http://here:8080/runs?state=open"), "/runs?state=open");
        assert_eq!(from("http://here//evil.example/x"), "/evil.example/x");
        assert_eq!(from("not an address"), "/");
        assert_eq!(came_from(&TestRequest::default().to_http_request()), "/");
    }
}
