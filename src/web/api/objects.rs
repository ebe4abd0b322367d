//! Definitions one at a time. Their shape, checks and messages are those of the fleet file.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::operation::{Operation, delete, get, post, put};
use super::paging::Wanted;
use super::{ROOT, ok};
use crate::app::App;
use crate::error::{Error, Result};
use crate::fleet::{self, Kind, Verb, object};
use crate::models::Role;
use crate::web::auth::{Access, Caller};
use crate::web::commands;
use crate::web::error::Answer;

const VIEWER: Access = Access::Needs(Role::Viewer);
const ADMIN: Access = Access::Needs(Role::Admin);

/// A node by itself says which cluster it belongs to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterNode)]
pub struct NodeOfCluster {
    /// Its cluster.
    cluster: String,
    #[serde(flatten)]
    node: fleet::Node,
}

/// A piece of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The operations on every kind of definition.
pub fn operations() -> Vec<Operation> {
    let kinds = [
        of::<fleet::Cluster>(Kind::Cluster, "Clusters with their nodes, by name."),
        of::<NodeOfCluster>(Kind::Node, "Nodes, by name."),
        of::<fleet::SshProfile>(Kind::SshProfile, "How to log in to nodes, by name."),
        of::<fleet::JvmProfile>(Kind::JvmProfile, "How to reach JVMs, by name."),
        of::<fleet::Ec2Profile>(Kind::Ec2Profile, "What can be launched, by name."),
        of::<fleet::Counter>(Kind::Counter, "What is read, by name."),
        of::<fleet::Action>(Kind::Action, "What can be done, by name."),
        of::<fleet::Trigger>(Kind::Trigger, "When it is done, by name."),
    ];
    kinds.into_iter().flatten().collect()
}

fn of<T: ToSchema>(kind: Kind, all: &'static str) -> [Operation; 5] {
    let list_path = path(kind);
    let one_path = format!("{list_path}/{{name}}");
    [
        get(&list_path, VIEWER, all, move |app, piece| {
            list(kind, app, piece)
        })
        .gives_page::<T>(),
        post(
            &list_path,
            ADMIN,
            "Creates one; refused when the name is taken.",
            move |app, caller, body| create(kind, app, caller, body),
        )
        .takes::<T>()
        .gives::<T>(201),
        get(
            &one_path,
            VIEWER,
            "One, without its secrets.",
            move |app, name| one(kind, app, name),
        )
        .gives::<T>(200),
        put(
            &one_path,
            ADMIN,
            "Creates or replaces one; 201 when it is new.",
            move |app, caller, name, body| replace(kind, app, caller, name, body),
        )
        .takes::<T>()
        .gives::<T>(200),
        delete(
            &one_path,
            ADMIN,
            "Removes one; refused while something uses it, naming what.",
            move |app, caller, name| remove(kind, app, caller, name),
        ),
    ]
}

fn path(kind: Kind) -> String {
    format!("/{}", kind.section().replace('_', "-"))
}

async fn list(kind: Kind, app: Data<App>, piece: Query<Piece>) -> Answer {
    let Piece { limit, cursor } = piece.into_inner();
    let wanted = Wanted::new(limit, cursor)?;
    let all = app.db.read(move |conn| object::list(conn, kind)).await?;
    Ok(ok(&wanted.page_by_name(all, name_of)?))
}

fn name_of(definition: &Value) -> String {
    let name = definition.get("name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

async fn one(kind: Kind, app: Data<App>, name: Path<String>) -> Answer {
    Ok(ok(&find(&app, kind, name.into_inner()).await?))
}

async fn find(app: &App, kind: Kind, name: String) -> Result<Value> {
    app.db
        .read(move |conn| object::get(conn, kind, &name))
        .await
}

async fn create(kind: Kind, app: Data<App>, caller: Caller, body: Json<Value>) -> Answer {
    let context = commands::context(&app, &caller);
    let body = body.into_inner();
    let name = app
        .db
        .write(move |conn| object::create(conn, &context, kind, &body))
        .await?;
    written(&app, kind, name, StatusCode::CREATED).await
}

async fn replace(
    kind: Kind,
    app: Data<App>,
    caller: Caller,
    name: Path<String>,
    body: Json<Value>,
) -> Answer {
    let context = commands::context(&app, &caller);
    let (name, body) = (name.into_inner(), body.into_inner());
    if !body.is_object() {
        return Err(Error::invalid("", "the body must be a JSON object").into());
    }
    let wanted = name.clone();
    let verb = app
        .db
        .write(move |conn| object::put(conn, &context, kind, &wanted, &body))
        .await?;
    let status = match verb {
        Some(Verb::Created) => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    written(&app, kind, name, status).await
}

/// As it stands after the change, and where.
async fn written(app: &App, kind: Kind, name: String, status: StatusCode) -> Answer {
    let place = format!("{ROOT}{}/{name}", path(kind));
    let body = find(app, kind, name).await?;
    Ok(HttpResponse::build(status)
        .insert_header((LOCATION, place))
        .json(body))
}

async fn remove(kind: Kind, app: Data<App>, caller: Caller, name: Path<String>) -> Answer {
    let context = commands::context(&app, &caller);
    let name = name.into_inner();
    app.db
        .write(move |conn| object::delete(conn, &context, kind, &name))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
