//! The pages: each a struct beside the handler that fills it, with a template of the same name. Reading a page changes nothing and collects
//! nothing; a button posts, and the answer leads back to a page.

pub mod account;
pub mod actions;
pub mod audit;
pub mod breaker;
mod browser;
pub mod cluster;
pub mod counter;
pub mod counters;
pub mod dashboard;
pub mod decide;
pub mod example;
pub mod graph;
pub mod holds;
pub mod instances;
pub mod inventory;
pub mod launch;
mod layout;
pub mod lines;
pub mod mbeans;
pub mod node;
pub mod now;
pub mod profiles;
pub mod read_now;
pub mod readings;
pub mod run;
pub mod runs;
pub mod soon;
pub mod standing;
pub mod tasks;
mod times;
pub mod trigger;
pub mod triggers;
mod visit;
pub mod wrong;

pub use browser::{Flash, Theme};
pub use layout::{Layout, Nav};
pub use visit::Visit;
