//! (3) DECIDE: pure rules, gates and decisions; `evaluate` alone touches the world.
