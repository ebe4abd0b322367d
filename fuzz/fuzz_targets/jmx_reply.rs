//! Whatever a server sends as a JMX reply: no panic, no endless loop, no memory beyond the bounds.
//!
//! `make fuzz` runs it from what real JVMs sent (`src/tests/jmx/replies`).
#![no_main]
#![allow(dead_code, reason = "only the reader of the client is built here")]

use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

mod jmx;

use jmx::convert::Converter;
use jmx::datum::Datum;
use jmx::reply::{Gives, reply};
use jmx::stream::Limits;

/// The texts in a value, in bytes: however often a reply refers to one, they come to no more than the reply may hold. Each mark of a text that
/// was cut takes three more.
fn texts(value: &Datum) -> usize {
    match value {
        Datum::Text(text) | Datum::Other(text) => text.trim_end_matches('…').len(),
        Datum::Members(members) => {
            let of = |(name, member): &(String, Datum)| {
                name.trim_end_matches('…').len() + texts(member)
            };
            members.iter().map(of).sum()
        }
        _ => 0,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    if let Ok(reply) = block_on(reply(&mut rest, Gives::Value, Limits::READ)) {
        let mut values = Converter::new(&reply.graph, Limits::READ);
        let mut sum = 0;
        for item in std::iter::once(reply.value).chain(reply.graph.items(reply.value)) {
            let Ok(value) = values.datum(item) else {
                break;
            };
            sum += texts(&value);
            assert!(sum <= 2 * Limits::READ.bytes, "{sum} bytes of text");
            let _ = (value.number(), value.member("used"), value.to_string());
        }
    }
});
