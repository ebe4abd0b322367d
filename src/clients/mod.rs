//! Thin wires to the outside: the only way out.
