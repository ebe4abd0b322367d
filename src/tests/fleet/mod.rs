//! The fleet file, against both databases.

mod applying;
mod example;
mod faults;
mod objects;
mod pruning;
mod round_trip;
mod secrets;
pub mod support;
