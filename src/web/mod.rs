//! SHOW: pages and API. Handlers read the request, call the layers below, and write the answer; nothing is decided here.

pub mod api;
pub mod assets;
pub mod auth;
pub mod commands;
pub mod error;
pub mod health;
pub mod layers;
pub mod mbeans;
pub mod pages;
pub mod peer;
pub mod routes;
pub mod stops;
mod tls;
pub mod view;

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, HttpServer};
use askama::Template;

use crate::app::App;
use crate::error::{Error, Result};
use crate::web::auth::Throttle;
use crate::web::error::{Answer, Failure, not_found};

/// Threads that answer requests; the work itself is in the database's and the clients' pools.
const WORKERS: usize = 2;
/// A client must have sent the head of its request by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// At a stop, requests under way may finish for so long.
const SHUTDOWN_SECS: u64 = 10;
/// Connections per worker.
const MAX_CONNECTIONS: usize = 2_000;

/// A web server that listens.
pub struct Web {
    server: Server,
    /// Where it listens; tells the port when the settings say 0.
    pub address: SocketAddr,
}

impl Web {
    /// Binds as the settings say, so that a taken port is told before anything else begins.
    ///
    /// # Errors
    /// The address is taken or not of this machine, or the certificate cannot be used.
    pub fn bind(app: &App) -> Result<Self> {
        let state = Data::new(app.clone());
        let throttle = Data::new(Throttle::default());
        let watch = Data::new(pages::now::Watch::default());
        let listen = app.config.http.listen;
        let server = HttpServer::new(move || {
            actix_web::App::new()
                .app_data(state.clone())
                .app_data(throttle.clone())
                .app_data(watch.clone())
                .configure(configure)
                .wrap(from_fn(layers::limit_body))
                .wrap(from_fn(error::render))
                .wrap(Compress::default())
                .wrap(from_fn(layers::secure))
                .wrap(from_fn(layers::log))
        })
        .workers(WORKERS)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_SECS)
        .disable_signals();
        let bound = match &app.config.http.tls {
            Some(tls) => server.bind_rustls_0_23(listen, tls::server_config(tls)?),
            None => server.bind(listen),
        };
        let server = bound.map_err(|cause| {
            Error::invalid(
                "HEADROOM_LISTEN",
                format!("cannot listen on {listen}: {cause}"),
            )
        })?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        Ok(Self {
            server: server.run(),
            address,
        })
    }

    /// Stops it from elsewhere: `handle.stop(true)` lets the requests under way finish.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// The server breaks down.
    pub async fn serve(self) -> Result<()> {
        self.server
            .await
            .map_err(|cause| Error::internal("the web server broke down", cause))
    }
}

/// Routes, what extractors take, and the answer to everything else.
fn configure(service: &mut ServiceConfig) {
    service
        .app_data(web::PayloadConfig::new(layers::MAX_BODY))
        .app_data(
            web::JsonConfig::default()
                .limit(layers::MAX_BODY)
                .error_handler(|cause, _| Failure::from(cause).into()),
        )
        .app_data(
            web::FormConfig::default()
                .limit(layers::MAX_BODY)
                .error_handler(|cause, _| Failure::from(cause).into()),
        )
        .app_data(web::QueryConfig::default().error_handler(|cause, _| Failure::from(cause).into()))
        .app_data(web::PathConfig::default().error_handler(|cause, _| Failure::from(cause).into()))
        .configure(routes::configure)
        .default_service(web::to(async || Err::<HttpResponse, _>(not_found())));
}

/// Answers with a page.
///
/// # Errors
/// The template fails.
pub fn html(page: &impl Template) -> Answer {
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}
