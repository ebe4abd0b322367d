//! What libssh2 took from a connection, held against what was heard of it: it keeps each packet that it has no use for, for as long as the
//! connection lives, and a hostile server could fill the memory with such.

/// Bytes that nobody heard of, beyond what a packet costs by itself.
const MAX_UNHEARD: u64 = 1024 * 1024;
/// What libssh2 takes in for a channel before anybody reads it.
const WINDOW: u64 = 2 * 1024 * 1024;
/// What packets may cost by themselves, over the life of a connection: none comes to that which does not try to.
const MAX_OVERHEAD: u64 = 64 * 1024 * 1024;
/// Length, padding, channel and seal of a packet.
const PACKET: u64 = 128;

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Bytes that were taken and not heard of.
    unheard: u64,
    /// The same, less what packets cost.
    unexplained: u64,
    /// What packets may still cost.
    overhead: u64,
    /// What may go unheard before it is worn: at random, so that connections of one start are not made anew together.
    wear: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            unheard: 0,
            unexplained: 0,
            overhead: MAX_OVERHEAD,
            wear: rand::random_range(MAX_UNHEARD / 2..=MAX_UNHEARD),
        }
    }
}

impl Ledger {
    /// So many bytes were taken from the socket.
    pub(super) fn took(&mut self, bytes: u64) {
        self.unheard += bytes;
        self.unexplained += bytes;
    }

    /// So many bytes of a channel were heard. What was small came in many packets, for all that is known.
    pub(super) fn heard(&mut self, bytes: u64) {
        self.unheard = self.unheard.saturating_sub(bytes);
        self.unexplained = self.unexplained.saturating_sub(bytes);
        let cost = bytes.saturating_mul(3).saturating_add(PACKET);
        let cost = cost.min(self.overhead).min(self.unexplained);
        self.overhead -= cost;
        self.unexplained -= cost;
    }

    /// Whether more came than so many open channels explain.
    pub(super) fn flooded(&self, channels: u64) -> bool {
        self.unexplained > MAX_UNHEARD.saturating_add(channels.saturating_mul(WINDOW))
    }

    /// Whether libssh2 may keep so much by now that the connection had better be made anew.
    pub(super) fn worn(&self) -> bool {
        self.unheard > self.wear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_heard_of_is_a_flood_and_what_waits_in_a_window_is_none() {
        let mut ledger = Ledger::default();
        ledger.took(MAX_UNHEARD / 2);
        assert!(!ledger.flooded(0) && !ledger.worn());
        ledger.took(MAX_UNHEARD / 2 + 1);
        assert!(ledger.flooded(0) && ledger.worn());
        assert!(!ledger.flooded(1));
        ledger.heard(MAX_UNHEARD / 2 + 1);
        assert!(!ledger.flooded(0) && !ledger.worn());
    }

    #[test]
    fn small_packets_explain_what_they_cost_up_to_a_bound() {
        let mut ledger = Ledger::default();
        for _ in 0..100_000 {
            ledger.took(2 + 64);
            ledger.heard(2);
        }
        assert!(!ledger.flooded(0));
        assert!(ledger.worn(), "libssh2 may have kept six megabytes");
        for _ in 0..2_000_000 {
            ledger.took(2 + 64);
            ledger.heard(2);
        }
        assert!(ledger.flooded(1));
    }

    #[test]
    fn nothing_is_saved_up_for_later() {
        let mut ledger = Ledger::default();
        ledger.heard(u64::MAX);
        ledger.took(MAX_UNHEARD + 1);
        assert!(ledger.flooded(0));
    }
}
