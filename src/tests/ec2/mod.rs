//! Launching and removing EC2 nodes, on an EC2 with the real one's manners and behind a proxy that lets calls fail.

mod access;
mod breaker;
mod chaos;
mod deciding;
mod deploy;
mod faults;
mod fence;
mod groups;
mod inspect;
mod matrix;
mod reaping;
mod remove;
mod world;
