//! (2) KEEP: series, samples and breaches in the embedded store or in Redis.
