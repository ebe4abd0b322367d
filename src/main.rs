//! The `headroom` binary: parses the command line, loads the configuration, calls `cli`.

fn main() {}
