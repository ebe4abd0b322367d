//! The whole of Headroom against real servers: sshd, SMTP, Redis, PostgreSQL, and `kill -9`.

mod crash;
mod firing;
mod lab;
mod loss;
mod share;
