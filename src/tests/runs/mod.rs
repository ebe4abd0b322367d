//! The run engine and the action kinds, on real files, scripts, processes and servers.

mod control;
mod crash;
mod disk;
mod engine;
mod lab;
mod mail;
mod scripts;
mod ssh;
