//! (4) ORDER: what runs when, what is undone, what survives a crash.
