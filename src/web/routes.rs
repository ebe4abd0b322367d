//! The whole URL table. A route without a line here does not exist; a line says whom it is for.

use std::collections::BTreeSet;

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, HttpResponse, Responder, Route, guard};

use crate::models::Role;
use crate::web::auth::{Access, Guard};
use crate::web::error::Failure;
use crate::web::{api, assets, auth, health};

use Access::{Metrics, Open};

/// For whoever has a login or a token.
const VIEWER: Access = Access::Needs(Role::Viewer);
/// For whoever may run, cancel, resolve and hold.
const OPERATOR: Access = Access::Needs(Role::Operator);
/// For whoever may define and trust.
const ADMIN: Access = Access::Needs(Role::Admin);

/// One line of the table.
pub struct Line {
    /// GET answers HEAD as well.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: String,
    /// Whom it is for.
    pub access: Access,
    route: Route,
}

/// What watchers and browsers without a login ask for.
fn base() -> Vec<Line> {
    vec![
        get("/healthz", Open, health::alive),
        get("/readyz", Open, health::ready),
        get("/metrics", Metrics, health::metrics),
        get("/static/{hash}/{name:.*}", Open, assets::serve),
        get("/login", Open, auth::login::form),
        post("/login", Open, auth::login::submit),
        post("/logout", VIEWER, auth::login::logout),
    ]
}

/// What people look at, and the buttons there.
fn pages() -> Vec<Line> {
    use crate::web::pages as p;
    vec![
        get("/", VIEWER, p::dashboard::show),
        get("/clusters", VIEWER, p::cluster::list),
        get("/clusters/{name}", VIEWER, p::cluster::show),
        post(
            "/clusters/{name}/breaker/close",
            OPERATOR,
            p::breaker::close,
        ),
        get("/nodes/{name}", VIEWER, p::node::show),
        post("/nodes/{name}/host-key", ADMIN, p::node::accept_key),
        post("/nodes/{name}/readings", OPERATOR, p::read_now::read),
        get("/nodes/{name}/jvms/{jvm}", OPERATOR, p::mbeans::show),
        get("/counters", VIEWER, p::counters::list),
        get("/counters/{name}", VIEWER, p::counter::show),
        get("/counters/{name}/graph", VIEWER, p::graph::data),
        get("/triggers", VIEWER, p::triggers::list),
        get("/triggers/{name}", VIEWER, p::trigger::show),
        get("/triggers/{name}/run", VIEWER, p::launch::preview_trigger),
        post("/triggers/{name}/runs", OPERATOR, p::launch::run_trigger),
        get("/actions", VIEWER, p::actions::list),
        get("/actions/{name}", VIEWER, p::actions::show),
        get("/actions/{name}/run", VIEWER, p::launch::preview_action),
        post("/actions/{name}/runs", OPERATOR, p::launch::run_action),
        get("/profiles", VIEWER, p::profiles::list),
        get("/holds", VIEWER, p::holds::list),
        post("/holds", OPERATOR, p::holds::add),
        post("/holds/{id}/lift", OPERATOR, p::holds::lift),
        post("/example/removal", ADMIN, p::example::remove),
        get("/instances", VIEWER, p::instances::list),
        post("/instances/look", OPERATOR, p::instances::look),
        post("/instances/{id}/adopt", OPERATOR, p::instances::adopt),
        post("/instances/{id}/reap", OPERATOR, p::instances::reap),
        post("/instances/{id}/forget", OPERATOR, p::instances::forget),
        get("/tasks", VIEWER, p::tasks::list),
        get("/audit", VIEWER, p::audit::list),
        get("/account", VIEWER, p::account::show),
        post("/account/password", VIEWER, p::account::change_password),
        post("/theme", VIEWER, p::account::choose_theme),
    ]
}

/// Runs, and what a person decides about them.
fn runs() -> Vec<Line> {
    use crate::web::pages as p;
    vec![
        get("/runs", VIEWER, p::runs::list),
        get("/runs/{id}", VIEWER, p::run::show),
        post("/runs/{id}/cancellation", OPERATOR, p::decide::cancel),
        post("/runs/{id}/steps/{step}/retry", OPERATOR, p::decide::retry),
        post(
            "/runs/{id}/steps/{step}/done",
            OPERATOR,
            p::decide::mark_done,
        ),
        post("/runs/{id}/steps/{step}/undo", OPERATOR, p::decide::undo),
        post(
            "/runs/{id}/steps/{step}/approve",
            OPERATOR,
            p::decide::approve,
        ),
        post(
            "/runs/{id}/steps/{step}/refuse",
            OPERATOR,
            p::decide::refuse,
        ),
    ]
}

/// Every line; those of the API stand in `api/table.rs`, with what its description says of them.
pub fn table() -> Vec<Line> {
    let api = api::table::operations();
    let api = api.into_iter().map(|operation| operation.line);
    let pages = pages().into_iter().chain(runs());
    base().into_iter().chain(pages).chain(api).collect()
}

/// Attaches every line; a known path with another method answers 405 and says which would do.
pub fn configure(service: &mut ServiceConfig) {
    let mut lines = table();
    while let Some(path) = lines.first().map(|line| line.path.clone()) {
        let (same, rest) = lines.into_iter().partition(|line| line.path == path);
        lines = rest;
        service.service(resource(&path, same));
    }
}

fn resource(path: &str, lines: Vec<Line>) -> actix_web::Resource {
    let allowed: BTreeSet<String> = lines
        .iter()
        .flat_map(|line| match line.method {
            Method::GET => vec!["GET".to_owned(), "HEAD".to_owned()],
            ref other => vec![other.to_string()],
        })
        .collect();
    let allowed = Vec::from_iter(allowed).join(", ");
    let other_method = web::to(move || {
        let refusal = method_not_allowed(&allowed);
        async move { Err::<HttpResponse, _>(refusal) }
    });
    lines
        .into_iter()
        .fold(web::resource(path), |resource, line| {
            resource.route(line.route)
        })
        .default_service(other_method)
}

fn method_not_allowed(allowed: &str) -> Failure {
    let refusal = Failure::new(
        actix_web::http::StatusCode::METHOD_NOT_ALLOWED,
        format!("This address does not take this method; it takes {allowed}."),
    );
    match HeaderValue::from_str(allowed) {
        Ok(value) => refusal.with(ALLOW, value),
        Err(_) => refusal,
    }
}

/// A line for reading; it never changes anything.
pub fn get<F, Args>(path: &str, access: Access, handler: F) -> Line
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let either = guard::Any(guard::Get()).or(guard::Head());
    line(
        Method::GET,
        path,
        access,
        web::route().guard(either),
        handler,
    )
}

/// A line for making or doing something.
pub fn post<F, Args>(path: &str, access: Access, handler: F) -> Line
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    line(Method::POST, path, access, web::post(), handler)
}

/// A line for replacing something.
pub fn put<F, Args>(path: &str, access: Access, handler: F) -> Line
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    line(Method::PUT, path, access, web::put(), handler)
}

/// A line for removing something.
pub fn delete<F, Args>(path: &str, access: Access, handler: F) -> Line
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    line(Method::DELETE, path, access, web::delete(), handler)
}

fn line<F, Args>(method: Method, path: &str, access: Access, route: Route, handler: F) -> Line
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let guard = Guard(access);
    let checked = from_fn(move |req, next| guard.check(req, next));
    Line {
        method,
        path: path.to_owned(),
        access,
        route: route.to(handler).wrap(checked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_stands_twice_in_the_table() {
        let mut seen = BTreeSet::new();
        for line in table() {
            assert!(
                seen.insert((line.method.to_string(), line.path.clone())),
                "{} {} stands twice",
                line.method,
                line.path
            );
        }
    }

    #[test]
    fn only_these_lines_are_open_to_strangers() {
        let open: Vec<String> = table()
            .iter()
            .filter(|line| line.access == Open)
            .map(|line| format!("{} {}", line.method, line.path))
            .collect();
        assert_eq!(
            open,
            [
                "GET /healthz",
                "GET /readyz",
                "GET /static/{hash}/{name:.*}",
                "GET /login",
                "POST /login",
            ]
        );
    }
}
