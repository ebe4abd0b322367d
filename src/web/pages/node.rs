//! `/nodes/{name}`: what was read on a node, its errors, host keys, runs and how it is reached.

use actix_web::web::{Form, Path};
use askama::Template;
use serde::Deserialize;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::host_key::HostKey;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::ssh_profile::SshProfile;
use crate::models::{HoldScope, HostKeyState, Via};
use crate::web::error::Answer;
use crate::web::pages::cluster::node_named;
use crate::web::pages::holds::HoldLine;
use crate::web::pages::inventory::Inventory;
use crate::web::pages::readings::{self, Reading};
use crate::web::pages::runs::RunLine;
use crate::web::pages::{Layout, Nav, Visit, standing};
use crate::web::view::{Badge, Moment, Status};

/// Runs shown on a node's page.
const RUNS: i64 = 10;

/// A host key as it is shown.
struct KeyLine {
    id: i64,
    port: i32,
    badge: Badge,
    offered: bool,
    kind: String,
    fingerprint: String,
    accepted_by: String,
    seen: Moment,
}

#[derive(Template)]
#[template(path = "node.html")]
struct NodePage {
    layout: Layout,
    name: String,
    cluster: String,
    address: String,
    instance: Option<String>,
    badge: Badge,
    state: Badge,
    profile: Option<SshProfile>,
    own_host: bool,
    jvms: Vec<String>,
    since: Moment,
    readings: Vec<Reading>,
    store_fault: Option<String>,
    keys: Vec<KeyLine>,
    holds: Vec<HoldLine>,
    runs: Vec<RunLine>,
}

/// `GET /nodes/{name}`.
///
/// # Errors
/// There is no such node, or the database fails.
pub async fn show(visit: Visit, name: Path<String>) -> Answer {
    let layout = visit.layout(Nav::Clusters, name.as_str()).await?;
    let (now_ms, wanted) = (visit.now_ms, name.into_inner());
    let (inventory, node, profile, keys, runs) = visit
        .app
        .db
        .read(move |conn| {
            let inventory = Inventory::load(conn, now_ms)?;
            let node = node_named(&inventory, &wanted)?.clone();
            let profile = node.ssh_profile_id;
            let profile = profile.map(|id| SshProfile::find(conn, id)).transpose()?;
            let keys = keys_of(conn, &node)?;
            Ok((
                inventory,
                node,
                profile,
                keys,
                Run::of_node(conn, &wanted, RUNS)?,
            ))
        })
        .await?;
    let (readings, store_fault) =
        match readings::of(&visit, &inventory, inventory.series([&node])).await {
            Ok(readings) => (readings, None),
            Err(cause) => (Vec::new(), Some(cause.to_string())),
        };
    let cluster = inventory.cluster_name(node.cluster_id).to_owned();
    let holds = inventory.holds_on(HoldScope::Node, &node.name, &cluster);
    let series = readings.iter().map(|reading| reading.standing.badge.status);
    visit.show(&NodePage {
        badge: standing::node(node.state, inventory.is_held(&node), series),
        state: node.state.into(),
        holds: holds
            .into_iter()
            .map(|hold| HoldLine::of(hold, now_ms))
            .collect(),
        runs: runs.iter().map(|run| RunLine::of(run, now_ms)).collect(),
        keys: keys.into_iter().map(|key| key_line(key, &visit)).collect(),
        since: visit.moment(node.created_ms),
        own_host: node.is_own_host(),
        jvms: inventory.jvms_of(node.id).map(str::to_owned).collect(),
        address: node.address,
        instance: node.instance_id,
        name: node.name,
        cluster,
        profile,
        readings,
        store_fault,
        layout,
    })
}

/// The keys of a node; those of the same address behind another jump host are another machine's.
fn keys_of(conn: &mut Connection, node: &Node) -> Result<Vec<HostKey>> {
    let profile = node.ssh_profile_id;
    let profile = profile.map(|id| SshProfile::find(conn, id)).transpose()?;
    let through = profile.map_or_else(String::new, |profile| profile.through());
    let mut keys = HostKey::of_host(conn, &node.address)?;
    keys.retain(|key| key.through == through);
    Ok(keys)
}

fn key_line(key: HostKey, visit: &Visit) -> KeyLine {
    let offered = key.state == HostKeyState::Offered;
    KeyLine {
        id: key.id,
        port: key.port,
        badge: if offered {
            Status::Firing.says("changed")
        } else {
            Status::Ok.says("accepted")
        },
        offered,
        fingerprint: fingerprint(&key.key_base64),
        kind: key.key_type,
        accepted_by: key.accepted_by.unwrap_or_default(),
        seen: visit.moment(key.seen_ms),
    }
}

/// `SHA256:…`, as `ssh-keygen -l` prints it, so that the two can be compared.
fn fingerprint(key_base64: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use sha2::{Digest as _, Sha256};
    match STANDARD.decode(key_base64) {
        Ok(key) => format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key))),
        Err(_) => "not a key".to_owned(),
    }
}

/// The pressed button.
#[derive(Deserialize)]
pub struct Accept {
    key: i64,
}

/// `POST /nodes/{name}/host-key`: trusts the key that the host shows now.
///
/// # Errors
/// There is no such node, or the database fails.
pub async fn accept_key(visit: Visit, name: Path<String>, form: Form<Accept>) -> Answer {
    let name = name.into_inner();
    let (by, via, now_ms) = (visit.caller.name.clone(), visit.caller.via, visit.now_ms);
    let (back, wanted) = (format!("/nodes/{name}#host-keys"), name);
    let outcome = visit
        .app
        .db
        .write(move |conn| accept(conn, &wanted, form.key, &by, via, now_ms))
        .await;
    visit.changed().await;
    let done = |key: HostKey| {
        format!(
            "The {} key of {} is accepted from now on.",
            key.key_type, key.address
        )
    };
    visit.went(&back, outcome.map(done))
}

/// Trusts the key that the person looked at: one that changed once more in between is not it.
fn accept(
    conn: &mut Connection,
    node: &str,
    key: i64,
    by: &str,
    via: Via,
    now_ms: i64,
) -> Result<HostKey> {
    let node = Node::by_name(conn, node)?;
    let keys = keys_of(conn, &node)?;
    let seen = |known: &&HostKey| known.id == key && known.state == HostKeyState::Offered;
    let Some(seen) = keys.iter().find(seen) else {
        return Err(Error::Conflict(
            "The host no longer shows that key. Look at its keys again before you accept one."
                .to_owned(),
        ));
    };
    let before = keys
        .iter()
        .find(|known| known.port == seen.port && known.state == HostKeyState::Accepted);
    let shown = |key: &HostKey| {
        serde_json::json!({"type": key.key_type, "fingerprint": fingerprint(&key.key_base64)})
            .to_string()
    };
    let event = NewAuditEvent {
        at_ms: now_ms,
        actor: by.to_owned(),
        via,
        verb: "accept host key".to_owned(),
        object: format!("node {}", node.name),
        before: before.map(shown),
        after: Some(shown(seen)),
    };
    AuditEvent::record(conn, &event)?;
    HostKey::accept(conn, seen.id, by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_ssh_keygen_prints() {
        // ssh-keygen -lf <(echo ssh-ed25519 …): SHA256 over the decoded key, base64 without padding.
        assert_eq!(
            fingerprint("aGVhZHJvb20="),
            "SHA256:Juk9galVPqvRZTAcrZkjaQlLahdZpi6UqZipSqUxWQI"
        );
        assert_eq!(fingerprint("%%"), "not a key");
    }
}
