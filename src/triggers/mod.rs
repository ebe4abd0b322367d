//! (3) DECIDE: pure rules, gates and decisions; `evaluate` alone touches the world.
//!
//! A reading moves its series' breach ([`breach`], by the [`rule`]); at every tick the [`facts`] of each trigger are gathered
//! ([`evaluate`]), looked over once ([`survey`]), held against the [`gates`] and answered with a sentence ([`decide`], [`reason`]).

pub mod backtest;
pub mod breach;
pub mod decide;
pub mod evaluate;
pub mod facts;
pub mod gates;
pub mod mean;
pub mod outage;
pub mod reason;
pub mod rule;
pub mod survey;
pub mod words;

#[cfg(test)]
mod tests;
