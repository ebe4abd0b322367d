//! Every route of the API, whom it is for, and what it takes and gives.

use super::operation::{Operation, delete, get, post, put};
use super::{
    audit, backtest, breakers, decisions, fleet, holds, instances, mbeans, objects, openapi, runs,
    series, status, tasks,
};
use crate::models::Role;
use crate::web::auth::Access;
use crate::web::commands::StepVerb;

const VIEWER: Access = Access::Needs(Role::Viewer);
const OPERATOR: Access = Access::Needs(Role::Operator);
const ADMIN: Access = Access::Needs(Role::Admin);

/// Every operation.
pub fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    all.extend(watching());
    all.extend(holding());
    all.extend(running());
    all.extend(deciding());
    all.extend(settling());
    all.extend(breaking());
    all.extend(rehearsing());
    all.extend(browsing());
    all.extend(whole_fleet());
    all.extend(objects::operations());
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

/// What if.
fn rehearsing() -> Vec<Operation> {
    vec![
        post("/triggers/{name}/backtest", OPERATOR, "Replays recorded samples: when the trigger would have fired, and why not. Changes nothing.", backtest::run)
            .takes::<backtest::Wanted>()
            .gives::<backtest::Report>(200),
    ]
}

/// What a JVM has to tell, to find a counter in. Operators and up: Headroom connects for it.
fn browsing() -> Vec<Operation> {
    vec![
        get(
            "/nodes/{name}/jvms/{jvm}/mbeans",
            OPERATOR,
            "The names of a JVM's MBeans, asked of it now.",
            mbeans::list,
        )
        .gives_list::<String>(),
        get(
            "/nodes/{name}/jvms/{jvm}/attributes",
            OPERATOR,
            "The attributes of an MBean with their values, asked of the JVM now.",
            mbeans::attributes,
        )
        .required_param("mbean", "The MBean's name.")
        .gives_list::<mbeans::Attribute>(),
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

/// Starting and following runs.
fn running() -> Vec<Operation> {
    vec![
        post(
            "/triggers/{name}/runs",
            OPERATOR,
            "Runs a trigger's steps now.",
            runs::start_trigger,
        )
        .takes::<runs::TriggerRun>()
        .gives::<runs::Accepted>(202),
        post(
            "/actions/{name}/runs",
            OPERATOR,
            "Runs a single action now.",
            runs::start_action,
        )
        .takes::<runs::ActionRun>()
        .gives::<runs::Accepted>(202),
        get("/runs", VIEWER, "Runs, the newest first.", runs::list)
            .param("state", "Only in this state.")
            .param("trigger", "Only of this trigger.")
            .param("cluster", "Only about this cluster.")
            .gives_page::<runs::Run>(),
        get(
            "/runs/{id}",
            VIEWER,
            "A run with its steps and its log.",
            runs::one,
        )
        .gives::<runs::RunDetail>(200),
    ]
}

/// What a person decides about a run.
fn deciding() -> Vec<Operation> {
    let step = |verb, path, summary| {
        post(path, OPERATOR, summary, move |app, caller, path, body| {
            runs::decide(verb, app, caller, path, body)
        })
        .takes::<runs::Reason>()
        .gives::<runs::Run>(202)
    };
    vec![
        post("/runs/{id}/cancellation", OPERATOR, "Cancels a run: what is running is stopped, nothing more begins, nothing is taken back.", runs::cancel)
            .takes::<runs::Reason>()
            .gives::<runs::Run>(202),
        step(StepVerb::Retry, "/runs/{id}/steps/{step}/retry", "Begins a step anew whose effect failed or did not happen; needs a reason."),
        step(StepVerb::Done, "/runs/{id}/steps/{step}/done", "Takes your word that a step's effect happened; needs a reason."),
        step(StepVerb::Approve, "/runs/{id}/steps/{step}/approve", "Approves a step that waits for it: it begins."),
        step(StepVerb::Refuse, "/runs/{id}/steps/{step}/refuse", "Refuses a step that waits for approval: it fails without having begun; needs a reason."),
        step(StepVerb::Undo, "/runs/{id}/steps/{step}/undo", "Takes a step back; needs a reason."),
    ]
}

/// Instances without a node, nodes without an instance.
fn settling() -> Vec<Operation> {
    vec![
        get(
            "/instances",
            VIEWER,
            "Where EC2's instances and the nodes disagree.",
            instances::list,
        )
        .gives_page::<instances::Finding>(),
        post(
            "/instances/{id}/adopt",
            OPERATOR,
            "Has a node stand for the instance of a finding.",
            instances::adopt,
        )
        .gives::<instances::Settled>(200),
        post(
            "/instances/{id}/forget",
            OPERATOR,
            "Takes a node away that no instance stands behind.",
            instances::forget,
        )
        .gives::<instances::Settled>(200),
        post(
            "/instances/{id}/reap",
            OPERATOR,
            "Terminates an instance that no node in service stands for.",
            instances::reap,
        )
        .gives::<instances::Reaping>(202),
    ]
}

/// What keeps a cluster from launching.
fn breaking() -> Vec<Operation> {
    vec![
        get(
            "/clusters/{name}/breaker",
            VIEWER,
            "Whether the cluster may launch, and why not.",
            breakers::one,
        )
        .gives::<breakers::Breaker>(200),
        post(
            "/clusters/{name}/breaker/close",
            OPERATOR,
            "Closes the breaker: the cluster may launch again; needs a reason.",
            breakers::close,
        )
        .takes::<runs::Reason>()
        .gives::<breakers::Breaker>(200),
    ]
}

/// The fleet file.
fn whole_fleet() -> Vec<Operation> {
    vec![
        get(
            "/fleet",
            VIEWER,
            "The whole fleet as a file; secrets as references.",
            fleet::export,
        )
        .gives_as::<crate::fleet::FleetFile>(200, fleet::KINDS),
        put(
            "/fleet",
            ADMIN,
            "Applies a fleet file: adds and changes by name.",
            fleet::apply,
        )
        .switch("dry_run", "Tell what would change, and change nothing.")
        .switch("prune", "Remove what the file does not name.")
        .takes_as::<crate::fleet::FleetFile>(fleet::KINDS)
        .gives::<crate::fleet::Diff>(200),
    ]
}
