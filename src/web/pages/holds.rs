//! `/holds`: time-boxed stops, with who, why and until when.

use actix_web::web::{Form, Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::config::parse_duration;
use crate::error::{Error, Fault};
use crate::models::cluster::Cluster;
use crate::models::hold::{self, Hold, NEVER_MS};
use crate::models::node::Node;
use crate::models::trigger::Trigger;
use crate::models::{HoldId, HoldScope};
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::stops;
use crate::web::view::{Badge, Moment, Status, relative};

/// Holds that are over, shown below the active ones.
const OVER: i64 = 20;
/// How long a hold may last when it is asked for.
const LENGTHS: [(&str, &str); 6] = [
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("12h", "12 hours"),
    ("1d", "1 day"),
    ("7d", "7 days"),
];

/// A hold as it is shown.
pub struct HoldLine {
    /// Its row.
    pub id: HoldId,
    /// What it stops: `cluster web`.
    pub subject: String,
    /// The page of what it stops.
    pub href: String,
    /// Whether it stops anything now.
    pub badge: Badge,
    /// Why.
    pub reason: String,
    /// Who.
    pub author: String,
    /// When it began.
    pub began: Moment,
    /// When it ends, or ended.
    pub ends: Moment,
    /// Who ended it before its time.
    pub lifted_by: String,
    /// What is left: `ends in 12 min`.
    pub left: String,
}

impl HoldLine {
    /// A hold as seen at `now_ms`.
    pub fn of(hold: &Hold, now_ms: i64) -> Self {
        let ends_ms = hold.lifted_ms.unwrap_or(hold.expires_ms);
        let name = hold.scope_name.as_deref().unwrap_or_default();
        let active = hold.is_active(now_ms);
        Self {
            id: hold.id,
            subject: hold.subject(),
            href: match hold.scope {
                HoldScope::Everything => "/triggers".to_owned(),
                HoldScope::Stop => "/holds#stop".to_owned(),
                HoldScope::Cluster => format!("/clusters/{name}"),
                HoldScope::Trigger => format!("/triggers/{name}"),
                HoldScope::Node => format!("/nodes/{name}"),
            },
            badge: if active {
                Status::Paused.says("holding")
            } else {
                Status::Ok.says("over")
            },
            reason: hold.reason.clone(),
            author: hold.author.clone(),
            began: Moment::new(hold.created_ms, now_ms),
            ends: Moment::new(ends_ms, now_ms),
            lifted_by: hold.lifted_by.clone().unwrap_or_default(),
            left: if active && hold.expires_ms >= NEVER_MS {
                "until it is lifted".to_owned()
            } else if active {
                format!("ends {}", relative(ends_ms, now_ms))
            } else {
                String::new()
            },
        }
    }
}

/// What the form holds; kept when it is refused.
#[derive(Debug, Default, Deserialize)]
pub struct Filled {
    #[serde(default)]
    scope: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    length: String,
}

#[derive(Template)]
#[template(path = "holds.html")]
struct HoldsPage {
    layout: Layout,
    active: Vec<HoldLine>,
    over: Vec<HoldLine>,
    filled: Filled,
    faults: Vec<Fault>,
    names: Vec<String>,
}

impl HoldsPage {
    fn lengths(&self) -> [(&'static str, &'static str); 6] {
        LENGTHS
    }

    /// Whether a scope can be chosen in the form; all acting is stopped by a form of its own.
    fn is_chosen(&self, scope: &HoldScope) -> bool {
        *scope != HoldScope::Stop
    }

    fn is_length(&self, length: &str) -> bool {
        match self.filled.length.as_str() {
            "" => length == "1h",
            chosen => length == chosen,
        }
    }

    /// The message at a field.
    fn fault(&self, field: &str) -> Option<&str> {
        let found = self.faults.iter().find(|fault| fault.path == field);
        found.map(|fault| fault.message.as_str())
    }
}

/// `GET /holds`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, filled: Query<Filled>) -> Answer {
    let page = page(&visit, filled.into_inner(), Vec::new()).await?;
    visit.show(&page)
}

async fn page(
    visit: &Visit,
    filled: Filled,
    faults: Vec<Fault>,
) -> crate::error::Result<HoldsPage> {
    let layout = visit.layout(Nav::Holds, "Holds").await?;
    let now_ms = visit.now_ms;
    let (active, latest, names) = visit
        .app
        .db
        .read(move |conn| {
            let mut names: Vec<String> = Vec::new();
            names.extend(Cluster::all(conn)?.into_iter().map(|it| it.name));
            names.extend(Trigger::all(conn)?.into_iter().map(|it| it.name));
            names.extend(Node::all(conn)?.into_iter().map(|it| it.name));
            let latest = Hold::page(conn, None, OVER)?;
            Ok((Hold::active(conn, now_ms)?, latest, names))
        })
        .await?;
    let over = latest.iter().filter(|hold| !hold.is_active(now_ms));
    Ok(HoldsPage {
        active: active
            .iter()
            .map(|hold| HoldLine::of(hold, now_ms))
            .collect(),
        over: over.map(|hold| HoldLine::of(hold, now_ms)).collect(),
        filled,
        faults,
        names,
        layout,
    })
}

/// `POST /holds`.
///
/// # Errors
/// The database fails.
pub async fn add(visit: Visit, form: Form<Filled>) -> Answer {
    let filled = form.into_inner();
    let now_ms = visit.now_ms;
    let request = match request(&visit, &filled) {
        Ok(request) => request,
        Err(fault) => return refuse(&visit, filled, vec![fault]).await,
    };
    let outcome = stops::begin_hold(&visit.app, &visit.caller, request).await;
    visit.changed().await;
    match outcome {
        Err(Error::Invalid(faults)) => refuse(&visit, filled, faults).await,
        outcome => visit.went(
            "/holds",
            outcome.map(|hold| {
                if hold.scope == HoldScope::Stop {
                    return "All acting is stopped: no run begins or goes on.".to_owned();
                }
                format!(
                    "A hold on {} begins now and ends {}.",
                    hold.subject(),
                    relative(hold.expires_ms, now_ms)
                )
            }),
        ),
    }
}

/// The form again, with what is wrong at its fields.
async fn refuse(visit: &Visit, filled: Filled, faults: Vec<Fault>) -> Answer {
    let page = page(visit, filled, faults).await?;
    let mut answer = visit.show(&page)?;
    *answer.status_mut() = actix_web::http::StatusCode::UNPROCESSABLE_ENTITY;
    Ok(answer)
}

fn request(visit: &Visit, filled: &Filled) -> Result<hold::Request, Fault> {
    let scope = filled
        .scope
        .parse::<HoldScope>()
        .map_err(|message| Fault::new("scope", message))?;
    let expires_ms = if scope == HoldScope::Stop && filled.length.is_empty() {
        NEVER_MS
    } else {
        let length = parse_duration(&filled.length)
            .map_err(|message| Fault::new("length", message.to_string()))?;
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        visit.now_ms.saturating_add(length_ms)
    };
    let name = filled.name.trim();
    Ok(hold::Request {
        scope,
        scope_name: (!name.is_empty()).then(|| name.to_owned()),
        reason: filled.reason.clone(),
        author: visit.caller.name.clone(),
        expires_ms,
    })
}

/// `POST /holds/{id}/lift`.
///
/// # Errors
/// There is no such hold, or the database fails.
pub async fn lift(visit: Visit, id: Path<i64>) -> Answer {
    let id = HoldId(id.into_inner());
    let outcome = stops::lift_hold(&visit.app, &visit.caller, id).await;
    visit.changed().await;
    let done = |hold: Hold| format!("The hold on {} is lifted.", hold.subject());
    visit.went("/holds", outcome.map(done))
}
