//! The files of the client that read.

#[path = "../../../src/clients/jmx/allowance.rs"]
pub mod allowance;
#[path = "../../../src/clients/jmx/convert.rs"]
pub mod convert;
#[path = "../../../src/clients/jmx/datum.rs"]
pub mod datum;
#[path = "../../../src/clients/jmx/failure.rs"]
pub mod failure;
#[path = "../../../src/clients/jmx/graph.rs"]
pub mod graph;
#[path = "../../../src/clients/jmx/reply/mod.rs"]
pub mod reply;
#[path = "../../../src/clients/jmx/stream/mod.rs"]
pub mod stream;
