//! (1) READ: collectors return readings; they never compare and never store.
