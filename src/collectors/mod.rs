//! (1) READ: collectors return readings; they never compare and never store.

mod reading;

pub use reading::Reading;
