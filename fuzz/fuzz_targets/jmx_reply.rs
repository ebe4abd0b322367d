//! Whatever a server sends as a JMX reply: no panic, no endless loop, no memory beyond the bounds.
//!
//! `make fuzz` runs it from what real JVMs sent (`src/tests/jmx/replies`).
#![no_main]
#![allow(dead_code, reason = "only the reader of the client is built here")]

use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

mod jmx;

use jmx::reply::{Gives, reply};
use jmx::stream::Limits;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    if let Ok(reply) = block_on(reply(&mut rest, Gives::Value, Limits::READ)) {
        let value = jmx::convert::datum(&reply.graph, reply.value);
        for item in reply.graph.items(reply.value) {
            jmx::convert::datum(&reply.graph, item);
        }
        let _ = (value.number(), value.member("used"), value.to_string());
    }
});
