//! Every route of the API, whom it is for, and what it takes and gives.

use super::operation::{Operation, delete, get, post};
use super::{audit, decisions, holds, openapi, series, status, tasks};
use crate::models::Role;
use crate::web::auth::Access;

const VIEWER: Access = Access::Needs(Role::Viewer);
const OPERATOR: Access = Access::Needs(Role::Operator);

/// Every operation.
pub fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    all.extend(watching());
    all.extend(holding());
    all
}

/// What is and what was.
fn watching() -> Vec<Operation> {
    vec![
        get("/status", VIEWER, "How it stands.", status::status).gives::<status::Status>(200),
        get(
            "/tasks",
            VIEWER,
            "What Headroom does by itself, and which processes do it.",
            tasks::list,
        )
        .gives::<tasks::Tasks>(200),
        get("/series", VIEWER, "Samples, gaps as null.", series::list)
            .param("cluster", "All nodes of this cluster.")
            .param("node", "One node; give either cluster or node.")
            .required_param("counter", "Which counter.")
            .param(
                "from",
                "RFC 3339 or milliseconds since 1970; the whole retention by default.",
            )
            .param("to", "As `from`; now by default.")
            .gives_list::<series::Series>(),
        get(
            "/audit",
            VIEWER,
            "Who changed what, the newest first.",
            audit::list,
        )
        .param("object", "Only about this, such as `trigger web-hot`.")
        .gives_page::<audit::AuditEvent>(),
        get(
            "/decisions",
            VIEWER,
            "Why triggers acted or did not, the newest first; equal answers in a row are one.",
            decisions::list,
        )
        .param("trigger", "Only of this trigger.")
        .gives_page::<decisions::Decision>(),
        get(
            "/openapi.json",
            VIEWER,
            "This description.",
            openapi::openapi,
        )
        .gives::<openapi::Description>(200),
    ]
}

/// Time-boxed stops.
fn holding() -> Vec<Operation> {
    vec![
        get("/holds", VIEWER, "Holds, the newest first.", holds::list)
            .switch("active", "Only those that stop something now.")
            .gives_page::<holds::Hold>(),
        post("/holds", OPERATOR, "Begins a hold.", holds::begin)
            .takes::<holds::NewHold>()
            .gives::<holds::Hold>(201),
        delete(
            "/holds/{id}",
            OPERATOR,
            "Ends a hold before its time.",
            holds::lift,
        )
        .gives::<holds::Hold>(200),
    ]
}
