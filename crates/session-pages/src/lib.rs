//! Gives the memory that a libssh2 session reserves and does not use back to the system, which must be Linux.
//!
//! libssh2 keeps two packet buffers of 35 000 bytes (`MAX_SSH_PACKET_LEN` of its `libssh2_priv.h`) and a banner of 8 192 in every session and
//! clears them when the session is made, so the kernel backs all of it with memory, although the packets of a monitored node are a few hundred
//! bytes. A page of private memory that is given back reads as zeros, and the kernel backs it again when it is first written to. So nothing
//! changes for libssh2 when pages that hold nothing but zeros are given back, wherever in the session they lie and whatever its version.
//!
//! A crate of its own, because Headroom forbids unsafe code in itself: all there is of it stands here.

use std::ops::Range;
use std::{ptr, slice};

use ssh2::Session;

/// Gives those pages of the session's own structure back that hold nothing but zeros: nearly all of it right after `Session::new`.
///
/// Returns how many bytes; 0 where the system keeps them (locked memory). Costs a few microseconds, and one for each page that is written to
/// later.
pub fn give_back(session: &Session) -> usize {
    let Some(page) = page_size() else {
        return 0;
    };
    // Locked to the end of this function, so nothing of libssh2 runs on this session meanwhile.
    let locked = session.raw();
    let begin = ptr::from_ref(&*locked).expose_provenance();
    // SAFETY: ssh2 names no allocator, so libssh2 has the session from malloc, and frees it only with the last `Session`.
    let size = unsafe { libc::malloc_usable_size(ptr::with_exposed_provenance_mut(begin)) };
    // The heap's other blocks share the first and the last page.
    let first = begin.next_multiple_of(page);
    let length = ((begin + size) / page * page).saturating_sub(first);
    let whole = ptr::with_exposed_provenance::<u64>(first);
    // SAFETY: these pages lie within the block, which libssh2 has written as a whole (memset in `libssh2_session_init_ex`) and nobody writes to
    // while it is locked; a page begins at a multiple of eight.
    let words = unsafe { slice::from_raw_parts(whole, length / size_of::<u64>()) };

    let mut given = 0;
    for run in zeros(words, page) {
        let start = ptr::with_exposed_provenance_mut(first + run.start);
        // SAFETY: malloc's memory is private and has no file behind it, so pages that hold zeros, and that nobody writes to while the session is
        // locked, read as zeros afterwards too (madvise(2), MADV_DONTNEED).
        let answer = unsafe { libc::madvise(start, run.len(), libc::MADV_DONTNEED) };
        given += if answer == 0 { run.len() } else { 0 };
    }
    given
}

fn page_size() -> Option<usize> {
    // SAFETY: takes a number and reads nothing else.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| *size > 0)
}

/// The stretches of whole pages that hold nothing but zeros, in bytes from the first word on.
fn zeros(words: &[u64], page: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let pages = words.chunks_exact(page / size_of::<u64>());
    for (index, _) in pages
        .enumerate()
        .filter(|(_, words)| words.iter().all(|word| *word == 0))
    {
        let at = index * page;
        match runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end += page,
            None => runs.push(at..at + page),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
