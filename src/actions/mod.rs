//! (5) ACT: what an action kind is, and one file per kind.
