//! One request for a page: who asks, when, and how it is answered.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use askama::Template;
use chrono::Utc;

use crate::app::App;
use crate::error::{Error, Result};
use crate::web::auth::Caller;
use crate::web::error::{Answer, Failure};
use crate::web::pages::browser::{Flash, Theme, flash_cookie};
use crate::web::pages::layout::{Layout, Nav};
use crate::web::pages::now::Watch;
use crate::web::peer::Peer;
use crate::web::view::Moment;

/// One request for a page.
pub struct Visit {
    /// The application.
    pub app: Data<App>,
    watch: Data<Watch>,
    /// Who asks.
    pub caller: Caller,
    /// When, ms.
    pub now_ms: i64,
    /// Whether the browser speaks TLS to us.
    pub https: bool,
    theme: Theme,
    flash: Option<Flash>,
}

impl FromRequest for Visit {
    type Error = Failure;
    type Future = Ready<std::result::Result<Self, Failure>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let mut visit = || {
            let attached = || Error::Internal("the application is not attached".into());
            let app = req.app_data::<Data<App>>().ok_or_else(attached)?;
            let watch = req.app_data::<Data<Watch>>().ok_or_else(attached)?;
            Ok(Self {
                https: Peer::of(req, &app.config.http).https,
                app: app.clone(),
                watch: watch.clone(),
                caller: Caller::from_request(req, payload).into_inner()?,
                now_ms: Utc::now().timestamp_millis(),
                theme: Theme::of(req),
                flash: Flash::of(req),
            })
        };
        ready(visit())
    }
}

impl Visit {
    /// The frame of a page.
    ///
    /// # Errors
    /// The database fails.
    pub async fn layout(&self, nav: Nav, title: impl Into<String>) -> Result<Layout> {
        let now = self.watch.now(&self.app, self.now_ms).await?;
        Ok(Layout {
            title: title.into(),
            nav,
            caller: self.caller.clone(),
            theme: self.theme,
            flash: self.flash.clone(),
            now_ms: self.now_ms,
            up_secs: (self.now_ms - self.app.started_at.timestamp_millis()) / 1000,
            now,
        })
    }

    /// Something was changed: the next page looks anew.
    pub async fn changed(&self) {
        self.watch.forget().await;
    }

    /// Length of a tick, ms.
    pub fn tick_ms(&self) -> i64 {
        self.app.config.sampling.tick_secs().saturating_mul(1000)
    }

    /// An instant as seen from this request.
    pub fn moment(&self, at_ms: i64) -> Moment {
        Moment::new(at_ms, self.now_ms)
    }

    /// Answers with the page; the message it shows is shown once.
    ///
    /// # Errors
    /// The template fails.
    pub fn show(&self, page: &impl Template) -> Answer {
        let mut answer = crate::web::html(page)?;
        if self.flash.is_some() {
            let mut gone = flash_cookie(String::new(), self.https);
            gone.make_removal();
            answer.add_cookie(&gone).map_err(cookie_failed)?;
        }
        Ok(answer)
    }

    /// After a button: on to a page, with a message.
    ///
    /// # Errors
    /// The message cannot be kept.
    pub fn go(&self, to: &str, flash: &Flash) -> Answer {
        let mut answer = HttpResponse::SeeOther()
            .insert_header((header::LOCATION, to))
            .finish();
        let cookie = flash.cookie(self.https)?;
        answer.add_cookie(&cookie).map_err(cookie_failed)?;
        Ok(answer)
    }

    /// After a button: what was done, or why it was refused. A fault of Headroom's own becomes an error page.
    ///
    /// # Errors
    /// The cause was not a refusal.
    pub fn went(&self, to: &str, outcome: Result<String>) -> Answer {
        match outcome {
            Ok(text) => self.go(to, &Flash::done(text)),
            Err(cause @ (Error::Conflict(_) | Error::Invalid(_) | Error::Upstream { .. })) => {
                self.go(to, &Flash::refused(&cause))
            }
            Err(cause) => Err(cause.into()),
        }
    }
}

fn cookie_failed(cause: impl std::fmt::Display) -> Error {
    Error::internal("could not set a cookie", cause)
}
