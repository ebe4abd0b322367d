//! Loopback ports that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

/// A port that was free a moment ago; the kernel does not hand the same one out again soon.
pub fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
