//! The run engine and the action kinds, on real files, scripts, processes and servers.

mod approval;
mod compensation;
mod control;
pub mod crash;
mod disk;
mod docker;
mod engine;
mod fabric;
pub mod killed;
pub mod lab;
mod mail;
mod puppet;
mod retry;
mod scripts;
mod ssh;
mod stop;
mod undo;
mod zabbix;
