//! `POST /nodes/{name}/readings`: one counter is read now, as by `headroom sample`; nothing is stored, and no trigger looks at it.

use actix_web::web::{Form, Path};
use serde::Deserialize;

use crate::collectors::Reading;
use crate::models::counter::Counter;
use crate::models::node::Node;
use crate::web::error::Answer;
use crate::web::pages::inventory::Inventory;
use crate::web::pages::{Flash, Visit};
use crate::web::view::{clock_secs, value};

/// The pressed button.
#[derive(Deserialize)]
pub struct Wish {
    counter: String,
    /// Where it was pressed.
    #[serde(default)]
    on: Page,
}

/// A page with such buttons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Page {
    /// The node's.
    #[default]
    Node,
    /// The counter's.
    Counter,
}

/// `POST /nodes/{name}/readings`.
///
/// # Errors
/// There is no such node or counter, or the database fails.
pub async fn read(visit: Visit, name: Path<String>, wish: Form<Wish>) -> Answer {
    let (node, Wish { counter, on }) = (name.into_inner(), wish.into_inner());
    let back = match on {
        Page::Node => format!("/nodes/{node}#readings-title"),
        Page::Counter => format!("/counters/{counter}#series-title"),
    };
    let (wanted, now_ms) = ((node.clone(), counter.clone()), visit.now_ms);
    let (inventory, of, read) = visit
        .app
        .db
        .read(move |conn| {
            let node = Node::by_name(conn, &wanted.0)?;
            let counter = Counter::by_name(conn, &wanted.1)?;
            Ok((Inventory::load(conn, now_ms)?, node, counter))
        })
        .await?;
    match visit.app.read_now(node, counter).await {
        Ok(readings) => visit.go(&back, &told(&inventory, &of, &read, &readings)),
        Err(cause) => visit.went(&back, Err(cause)),
    }
}

/// The readings in a sentence each.
fn told(inventory: &Inventory, node: &Node, counter: &Counter, readings: &[Reading]) -> Flash {
    let sentences = readings.iter().map(|reading| {
        let (name, label) = (&counter.name, inventory.label(node, reading.key));
        let (at, took_ms) = (clock_secs(reading.measured_ms), reading.took_ms);
        match &reading.outcome {
            Ok(number) => {
                let value = value(*number, counter.unit.as_deref());
                format!("{name} on {label} is {value}, read at {at} UTC in {took_ms} ms.")
            }
            Err(why) => format!("{name} on {label} could not be read: {why} ({took_ms} ms)."),
        }
    });
    Flash {
        good: readings.iter().all(|reading| reading.outcome.is_ok()),
        text: sentences.collect::<Vec<_>>().join(" "),
    }
}
