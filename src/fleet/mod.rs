//! The fleet file: parse, validate, diff, apply, export.
