//! The `headroom` binary: parses the command line, loads the configuration, calls `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    headroom::cli::main()
}
