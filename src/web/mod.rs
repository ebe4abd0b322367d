//! SHOW: pages and API.
