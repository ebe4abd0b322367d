//! The whole of Headroom against real servers: sshd, Puppet, Fabric, SMTP, Redis, PostgreSQL, an EC2, and `kill -9`.

mod crash;
mod firing;
mod lab;
mod loss;
#[cfg(feature = "aws")]
mod recipe;
mod share;
mod silent;
mod trickle;
