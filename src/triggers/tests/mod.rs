//! Tables and properties of the pure part. A world is described by one character a minute, `now` is its last one.

mod gates;
mod outcomes;
mod properties;
mod replay;
mod vectors;
pub mod world;
