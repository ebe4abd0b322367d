//! WHEN: periods, the queue and the workers that it wakes.
