//! A person's logged-in browser: a random cookie, of which the database keeps the hash alone.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use crate::db::Db;
use crate::error::Result;
use crate::models::session::{NewSession, Session};
use crate::models::user::User;
use crate::web::auth::token;

/// The cookie's name.
pub const COOKIE: &str = "headroom_session";
/// How long a login lasts.
const LIFETIME_MS: i64 = 7 * 24 * 3_600_000;

/// The user behind a request's cookie, if it is one of ours and has not ended.
///
/// # Errors
/// The database fails.
pub async fn user(db: &Db, req: &HttpRequest, now_ms: i64) -> Result<Option<User>> {
    let Some(cookie) = req.cookie(COOKIE) else {
        return Ok(None);
    };
    let hash = token::hash(cookie.value());
    db.read(move |conn| Session::user(conn, &hash, now_ms))
        .await
}

/// Begins a session and ends the one the browser came with: a cookie planted before the login opens nothing after it.
///
/// # Errors
/// The database fails.
pub async fn begin(
    db: &Db,
    req: &HttpRequest,
    user: &User,
    secure: bool,
    now_ms: i64,
) -> Result<Cookie<'static>> {
    let secret = token::random();
    let new = NewSession {
        token_hash: token::hash(&secret),
        user_id: user.id,
        created_ms: now_ms,
        expires_ms: now_ms + LIFETIME_MS,
    };
    let old = req.cookie(COOKIE).map(|old| token::hash(old.value()));
    db.write(move |conn| {
        Session::delete_expired(conn, now_ms)?;
        if let Some(old) = old {
            Session::delete(conn, &old)?;
        }
        Session::insert(conn, &new)
    })
    .await?;
    let mut cookie = cookie(secret, secure);
    cookie.set_max_age(Duration::milliseconds(LIFETIME_MS));
    Ok(cookie)
}

/// Ends the session a browser came with; the cookie to send back removes itself.
///
/// # Errors
/// The database fails.
pub async fn end(db: &Db, req: &HttpRequest, secure: bool) -> Result<Cookie<'static>> {
    if let Some(old) = req.cookie(COOKIE).map(|old| token::hash(old.value())) {
        db.write(move |conn| Session::delete(conn, &old)).await?;
    }
    let mut gone = cookie(String::new(), secure);
    gone.make_removal();
    Ok(gone)
}

fn cookie(value: String, secure: bool) -> Cookie<'static> {
    Cookie::build(COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .finish()
}
