//! Settings: one struct per concern, from a file and the environment.
