//! The web server from outside: who gets in, what is refused and how, and every address of the API.

mod access;
mod backtest;
mod base;
mod breakers;
mod fleet;
mod holds;
#[cfg(feature = "aws")]
mod instances;
mod login;
mod objects;
mod openapi;
mod runs;
mod tls;
mod watching;
mod world;
