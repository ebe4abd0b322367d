//! Secrets at rest; the only place that decrypts.
