//! `headroom serve`: the web server, the scheduler and the workers in one process, or some of them in each of several.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use futures::future::OptionFuture;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

use super::args::Serve;
use crate::app::App;
use crate::clients::descriptors;
use crate::config::Config;
use crate::fleet;
use crate::jobs::schedule::Role;
use crate::jobs::supervise::{Stopper, stop_signal};
use crate::models::{Via, to_ms};
use crate::web::Web;
use crate::web::auth::ensure_first_admin;

/// Runs under way may finish for so long after a stop; what is cut off then is taken up at the next start, as after a crash.
const GRACE: Duration = Duration::from_secs(60);

pub(super) async fn serve(config: Config, args: Serve) -> anyhow::Result<ExitCode> {
    // A connection per node needs descriptors; the usual soft limit of 1 024 would be too low for a large fleet.
    descriptors::raise();
    let app = App::open(config).await?;
    prepare(&app, &args).await?;
    let web = args
        .roles
        .contains(&Role::Web)
        .then(|| Web::bind(&app))
        .transpose()?;
    let (stopper, stop) = stop_signal();
    let handle = web.as_ref().map(Web::handle);
    announce(&app, &args, web.as_ref());

    let pages = tokio::spawn(OptionFuture::from(web.map(Web::serve)));
    let workers = tokio::spawn(crate::jobs::work(app.clone(), args.roles.clone(), stop));
    wait_for_stop(&stopper).await?;
    if let Some(handle) = handle {
        handle.stop(true).await;
    }
    pages.await?.transpose()?;
    if tokio::time::timeout(GRACE, workers).await.is_err() {
        tracing::warn!(
            "runs were still under way after {} s; the next start takes them up",
            GRACE.as_secs()
        );
    }
    app.jmx.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The first login and, in an empty data folder, the example to look at.
async fn prepare(app: &App, args: &Serve) -> anyhow::Result<()> {
    let now_ms = to_ms(Utc::now());
    let (db, auth) = (app.db.clone(), app.config.auth.clone());
    let fresh =
        tokio::task::spawn_blocking(move || ensure_first_admin(&db, &auth, now_ms)).await??;
    let Some(login) = fresh else { return Ok(()) };
    if let Some(password) = &login.password {
        eprintln!(
            "\n  First login: {} / {}\n  Shown once; also in {} until you change it.\n",
            login.user,
            password.expose_secret(),
            login.file.display()
        );
    }
    // The example runs scripts on this machine, so it goes by the same leave as every local counter.
    if app.config.sampling.allow_local && !args.no_example {
        let context = app.fleet_context("headroom".into(), Via::System, Utc::now());
        let seeded = app
            .db
            .write(move |conn| fleet::seed_example(conn, &context))
            .await;
        seeded.context("could not add the example cluster")?;
    }
    Ok(())
}

fn announce(app: &App, args: &Serve, web: Option<&Web>) {
    let roles: Vec<_> = args.roles.iter().map(|role| role.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        worker.name = app.worker,
        roles = roles.join(","),
        tick_secs = app.config.sampling.tick_secs(),
        "started"
    );
    if let Some(web) = web {
        let scheme = if app.config.http.tls.is_some() {
            "https"
        } else {
            "http"
        };
        eprintln!("Headroom is at {scheme}://{}", web.address);
    }
}

async fn wait_for_stop(stopper: &Stopper) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new work, waiting for what is under way");
    stopper.stop();
    Ok(())
}
