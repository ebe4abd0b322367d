use std::fs;

use ssh2::Session;

use crate::{give_back, zeros};

/// Two packet buffers, less the pages that they share with what stands beside them.
const PACKET_BUFFERS: usize = 2 * 35_000 - 4 * 4_096;
const SESSIONS: usize = 500;

/// KiB of this process that the kernel backs with memory.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn kib_each(make: impl Fn() -> Session) -> usize {
    let before = resident_kib();
    let sessions: Vec<Session> = (0..SESSIONS).map(|_| make()).collect();
    let each = resident_kib().saturating_sub(before) / SESSIONS;
    drop(sessions);
    each
}

// One test for both, since each looks at the memory of the whole process.
#[test]
fn a_new_session_keeps_a_fifth_of_its_memory() {
    let lean = kib_each(|| {
        let session = Session::new().unwrap();
        assert!(give_back(&session) >= PACKET_BUFFERS);
        session
    });
    let whole = kib_each(|| Session::new().unwrap());

    assert!(
        whole >= 64,
        "{whole} KiB without: this crate may have become needless"
    );
    assert!(lean <= whole / 5, "{lean} of {whole} KiB");
}

#[test]
fn what_a_session_was_told_stays() {
    let session = Session::new().unwrap();
    session.set_timeout(1_234);
    session.set_blocking(false);

    assert!(give_back(&session) > 0);
    assert!(
        give_back(&session) > 0,
        "pages given back are zeros, and may be given back again"
    );

    assert_eq!(session.timeout(), 1_234);
    assert!(!session.is_blocking());
}

#[test]
fn a_page_that_holds_anything_is_kept() {
    const WORDS: usize = 512;
    let page = WORDS * 8;
    let mut words = vec![0_u64; 10 * WORDS];
    words[3 * WORDS + 17] = 1;
    words[7 * WORDS] = 1;
    words[9 * WORDS - 1] = 1;
    assert_eq!(
        zeros(&words, page),
        [0..3 * page, 4 * page..7 * page, 9 * page..10 * page]
    );
    assert_eq!(zeros(&[0; WORDS - 1], page), [], "less than a page");
}
