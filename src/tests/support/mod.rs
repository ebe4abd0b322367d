//! What tests share: real servers on free loopback ports in temp folders, stopped by pid; and waiting for events instead of sleeping.

pub mod app;
pub mod cable;
#[cfg(feature = "aws")]
pub mod cloud;
pub mod disk;
pub mod docker;
#[cfg(feature = "aws")]
pub mod faults;
pub mod hostile;
pub mod http;
pub mod jvm;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod smtp;
pub mod source;
pub mod sshd;
#[cfg(feature = "aws")]
pub mod strays;
pub mod tools;
pub mod wait;
pub mod zabbix;
