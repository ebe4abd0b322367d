//! Readings in, runs and decisions out: on real databases and stores.

mod backtest;
mod firing;
mod ledger;
mod observing;
mod passes;
mod records;
pub mod site;
