//! WHEN: periods, the queue and the workers that it wakes. Glue around apalis; the rows in the database decide.

pub mod queue;
pub mod schedule;
pub mod supervise;
