//! SHOW: pages and API.

pub mod view;
