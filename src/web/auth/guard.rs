//! Stands before every route: finds out who asks, whether the route is for them, and whether a change comes from our own pages.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use chrono::Utc;

use crate::app::App;
use crate::error::Error;
use crate::models::token::ApiToken;
use crate::models::{Role, Via};
use crate::web::auth::{Caller, origin, session, token};
use crate::web::error::Failure;
use crate::web::peer::Peer;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A token's last use is noted at most this often.
const USE_NOTED_EVERY_MS: i64 = 60_000;

/// Whom a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Anyone if `HEADROOM_METRICS_OPEN`, else viewers.
    Metrics,
    /// Whoever has this role.
    Needs(Role),
}

/// The check before one route.
#[derive(Debug, Clone, Copy)]
pub struct Guard(pub Access);

impl Guard {
    /// Lets the request through with its [`Caller`], or answers in its place.
    ///
    /// # Errors
    /// What the inner services could not turn into an answer.
    pub async fn check(
        self,
        req: ServiceRequest,
        next: Next<impl MessageBody + 'static>,
    ) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
        match self.decide(req.request()).await {
            Ok(None) => {}
            Ok(Some(caller)) => {
                req.extensions_mut().insert(caller);
            }
            Err(Refusal::Login(address)) => {
                let to_login = HttpResponse::SeeOther()
                    .insert_header((header::LOCATION, address))
                    .finish();
                return Ok(req.into_response(to_login));
            }
            Err(Refusal::No(failure)) => {
                return Ok(req.error_response(failure));
            }
        }
        next.call(req)
            .await
            .map(ServiceResponse::map_into_boxed_body)
    }

    async fn decide(self, req: &HttpRequest) -> Result<Option<Caller>, Refusal> {
        let app = req
            .app_data::<Data<App>>()
            .ok_or_else(|| Error::Internal("the application is not attached".into()))?;
        let change = !matches!(*req.method(), Method::GET | Method::HEAD);
        let role = match self.0 {
            Access::Needs(role) => role,
            Access::Metrics if !app.config.http.metrics_open => Role::Viewer,
            Access::Metrics | Access::Open => {
                if change {
                    same_origin(req, app)?;
                }
                return Ok(None);
            }
        };
        let caller = match bearer(req) {
            Some(token) => by_token(app, token).await?,
            None => by_session(app, req, change).await?,
        };
        caller.require(role)?;
        Ok(Some(caller))
    }
}

enum Refusal {
    No(Failure),
    Login(String),
}

impl<E: Into<Failure>> From<E> for Refusal {
    fn from(cause: E) -> Self {
        Self::No(cause.into())
    }
}

fn bearer(req: &HttpRequest) -> Option<String> {
    let value = req.headers().get(header::AUTHORIZATION)?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

async fn by_token(app: &App, secret: String) -> Result<Caller, Refusal> {
    let now_ms = Utc::now().timestamp_millis();
    let hash = token::hash(&secret);
    let found = app
        .db
        .read(move |conn| ApiToken::by_hash(conn, &hash))
        .await?;
    let Some(token) = found else {
        return Err(Failure::unauthorized(
            "This token is not known. An admin makes one with `headroom token create`.",
        )
        .into());
    };
    if token.expires_ms.is_some_and(|end| end <= now_ms) {
        return Err(Failure::unauthorized(format!(
            "The token \"{}\" has expired. An admin makes a new one with `headroom token create`.",
            token.name
        ))
        .into());
    }
    let noted = token.last_used_ms.unwrap_or(i64::MIN);
    if now_ms.saturating_sub(noted) >= USE_NOTED_EVERY_MS {
        let id = token.id;
        app.db
            .write(move |conn| ApiToken::used(conn, id, now_ms))
            .await?;
    }
    Ok(Caller {
        name: token.name,
        role: token.role,
        via: Via::Api,
    })
}

async fn by_session(app: &App, req: &HttpRequest, change: bool) -> Result<Caller, Refusal> {
    let api = req.path().starts_with("/api/");
    let now_ms = Utc::now().timestamp_millis();
    let Some(user) = session::user(&app.db, req, now_ms).await? else {
        if api || req.path() == "/metrics" {
            return Err(Failure::unauthorized(
                "This needs a token: send it as `Authorization: Bearer hr_…`. An admin makes one with `headroom token create`.",
            )
            .into());
        }
        return Err(Refusal::Login(login_address(req)));
    };
    if change {
        same_origin(req, app)?;
    }
    Ok(Caller {
        name: user.name,
        role: user.role,
        via: if api { Via::Api } else { Via::Page },
    })
}

/// Back to the page that was asked for; after a form that came too late, to the start.
fn login_address(req: &HttpRequest) -> String {
    if *req.method() != Method::GET || req.path() == "/" {
        return "/login".into();
    }
    let wanted = req.uri().path_and_query().map_or("/", |it| it.as_str());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", wanted)
        .finish();
    format!("/login?{query}")
}

fn same_origin(req: &HttpRequest, app: &App) -> Result<(), Failure> {
    let text = |name| req.headers().get(name).and_then(|it| it.to_str().ok());
    let peer = Peer::of(req, &app.config.http);
    origin::check(&origin::Source {
        fetch_site: text(FETCH_SITE),
        origin: text(header::ORIGIN),
        host: &peer.host,
        https: peer.https,
    })
    .map_err(|why| Error::Forbidden(why).into())
}
