//! Keeps what one script prints, and hears its exit status where the script leaves something behind that holds its streams open.

use std::time::Duration;

use crate::clients::output::{Exit, Kept};
use crate::clients::ssh::talk::Listener;

/// After the token: a space, a status of up to three digits and the end of the line.
const AFTER_TOKEN: usize = 5;

/// Listens to one script.
pub(super) struct Keeper {
    stdout: Kept,
    stderr: Kept,
    limit: Duration,
    /// A line of its own that ends standard error: `\n<token> `.
    trailer: Vec<u8>,
    /// The end of standard error that may be the beginning of the trailer.
    held: Vec<u8>,
    status: Option<i32>,
}

impl Keeper {
    pub(super) fn new(token: &str, limit: Duration, max_output: usize) -> Self {
        Self {
            stdout: Kept::new(max_output),
            stderr: Kept::new(max_output),
            limit,
            trailer: format!("\n{token} ").into_bytes(),
            held: Vec::new(),
            status: None,
        }
    }

    /// Both streams.
    pub(super) fn into_streams(mut self) -> (Kept, Kept) {
        self.stderr.push(&self.held);
        (self.stdout, self.stderr)
    }

    /// The status that the trailer tells, once it is there whole.
    fn told(&self) -> Option<(usize, i32)> {
        let length = self.trailer.len();
        let at = self
            .held
            .windows(length)
            .position(|part| part == self.trailer)?;
        let rest = self.held.get(at + length..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let status = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        Some((at, status))
    }
}

impl Listener for Keeper {
    fn stdout(&mut self, bytes: &[u8], _at: Duration) {
        self.stdout.push(bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        if self.status.is_some() {
            // What the script left behind is no part of it.
            return;
        }
        self.held.extend_from_slice(bytes);
        if let Some((at, status)) = self.told() {
            self.status = Some(status);
            self.held.truncate(at);
        }
        let sure = self
            .held
            .len()
            .saturating_sub(self.trailer.len() + AFTER_TOKEN);
        self.stderr.push(self.held.get(..sure).unwrap_or_default());
        self.held.drain(..sure);
    }

    fn limit(&self) -> Duration {
        self.limit
    }

    fn ended(&self) -> Option<Exit> {
        self.status.map(Exit::Status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_trailer_is_heard_and_cut_off_in_whatever_pieces_it_comes(
            before in "[\nabt0k ]{0,80}",
            size in 1_usize..20,
            status in 0..256,
            limit in 0_usize..100,
        ) {
            let mut keeper = Keeper::new("t0ken", Duration::ZERO, limit);
            let bytes = format!("{before}\nt0ken {status}\n");
            for piece in bytes.as_bytes().chunks(size) {
                prop_assert_eq!(keeper.ended(), None);
                keeper.stderr(piece);
            }
            keeper.stderr(b"from the background");
            prop_assert_eq!(keeper.ended(), Some(Exit::Status(status)));
            let (_, stderr) = keeper.into_streams();
            prop_assert_eq!(stderr.truncated(), before.len() > limit);
            let kept = before.as_bytes();
            prop_assert_eq!(stderr.into_bytes(), &kept[..limit.min(kept.len())]);
        }
    }

    #[test]
    fn without_a_trailer_everything_is_kept() {
        let mut keeper = Keeper::new("t0ken", Duration::ZERO, 100);
        keeper.stderr(b"oops\nt0ken ");
        keeper.stderr(b"x");
        assert_eq!(keeper.ended(), None);
        assert_eq!(keeper.into_streams().1.into_bytes(), b"oops\nt0ken x");
    }
}
