//! The run engine and the action kinds, on real files, scripts, processes and servers.

mod control;
mod crash;
mod disk;
mod engine;
mod fabric;
mod lab;
mod mail;
mod puppet;
mod scripts;
mod ssh;
