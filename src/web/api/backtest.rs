//! What a trigger would have done on the samples that are there, as it is or as it is about to be.

use actix_web::web::{Bytes, Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ok, optional};
use crate::app::App;
use crate::error::Result;
use crate::fleet::{Kind, object};
use crate::models::{Outcome, from_ms, to_ms};
use crate::triggers::backtest as replayed;
use crate::triggers::evaluate::Backtest;
use crate::web::auth::Caller;
use crate::web::commands;
use crate::web::error::Answer;

/// What to replay.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// From when; the whole retention by default.
    from: Option<DateTime<Utc>>,
    /// Until when; now by default.
    to: Option<DateTime<Utc>>,
    /// The trigger as it is about to be; as it is by default.
    #[schema(value_type = Option<crate::fleet::Trigger>)]
    definition: Option<Value>,
}

/// What a replay came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BacktestReport)]
pub struct Report {
    /// First tick that was decided.
    from: DateTime<Utc>,
    /// Last tick that was decided.
    to: DateTime<Utc>,
    /// Ticks that were decided.
    ticks: u32,
    /// When it would have fired, and on what.
    firings: Vec<Firing>,
    /// Every outcome, equal ones in a row as one.
    stretches: Vec<Stretch>,
}

/// A firing that would have been.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Firing {
    /// Its tick.
    at: DateTime<Utc>,
    /// What it would have fired on.
    reason: String,
}

/// Ticks in a row that came to the same.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Stretch {
    /// What they came to.
    #[schema(value_type = Outcome)]
    outcome: crate::triggers::decide::Outcome,
    /// Why, in a sentence.
    reason: String,
    /// First tick.
    first: DateTime<Utc>,
    /// Last tick.
    last: DateTime<Utc>,
    /// How many.
    count: u32,
}

/// `POST /triggers/{name}/backtest`.
///
/// # Errors
/// The trigger does not exist, its new definition has faults, the time makes no sense, or a database fails.
pub async fn run(app: Data<App>, caller: Caller, name: Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = optional(&body)?;
    let to = wanted.to.unwrap_or_else(Utc::now);
    let from = wanted
        .from
        .unwrap_or_else(|| to - app.config.sampling.retention);
    let test = load(&app, &caller, name.into_inner(), wanted.definition).await?;
    let report = test.replay(&app.store, to_ms(from), to_ms(to)).await?;
    Ok(ok(&Report::from(report)))
}

/// An edited definition goes the way of a real change, whose transaction is then taken back: so it is checked and read like one.
async fn load(
    app: &App,
    caller: &Caller,
    name: String,
    definition: Option<Value>,
) -> Result<Backtest> {
    let tick_length_ms = app.config.sampling.tick_secs() * 1_000;
    let Some(definition) = definition else {
        return app
            .db
            .read(move |conn| Backtest::load(conn, &name, tick_length_ms))
            .await;
    };
    let context = commands::context(app, caller);
    app.db
        .rehearse(move |conn| {
            object::put(conn, &context, Kind::Trigger, &name, &definition)?;
            Backtest::load(conn, &name, tick_length_ms)
        })
        .await
}

impl From<replayed::Report> for Report {
    fn from(report: replayed::Report) -> Self {
        let firings = report.firings.into_iter().map(|firing| Firing {
            at: from_ms(firing.at_ms),
            reason: firing.reason,
        });
        let stretches = report.stretches.into_iter().map(|stretch| Stretch {
            outcome: stretch.outcome,
            reason: stretch.reason,
            first: from_ms(stretch.first_ms),
            last: from_ms(stretch.last_ms),
            count: stretch.count,
        });
        Self {
            from: from_ms(report.from_ms),
            to: from_ms(report.to_ms),
            ticks: report.ticks,
            firings: firings.collect(),
            stretches: stretches.collect(),
        }
    }
}
