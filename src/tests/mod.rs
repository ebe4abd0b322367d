//! The one integration test binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, with its place"
)]

mod api;
mod architecture;
mod cli;
#[cfg(feature = "aws")]
mod ec2;
mod fleet;
mod jmx;
mod migrations;
mod models;
mod pages;
mod real;
mod runs;
mod samples;
mod ssh;
mod support;
mod triggers;
