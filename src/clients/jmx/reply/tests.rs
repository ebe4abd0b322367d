use std::fs;

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::clients::jmx::convert::Converter;
use crate::clients::jmx::datum::Datum;

/// What a real JVM (OpenJDK 17) sent, each file one reply; the fuzzer begins with them too.
fn captured() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/jmx/replies");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{folder} is empty");
    all
}

fn read(bytes: &[u8]) -> (Result<Reply, Failure>, usize) {
    let mut rest = bytes;
    let reply = block_on(reply(&mut rest, Gives::Value, Limits::READ));
    (reply, rest.len())
}

fn datum(reply: &Reply) -> Result<Datum, Failure> {
    Converter::new(&reply.graph, Limits::READ).datum(reply.value)
}

fn begin(rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x51, 0xac, 0xed, 0, 5, 0x77, 15, 1];
    bytes.extend([0; 14]);
    bytes.extend(rest);
    bytes
}

fn refusal(rest: &[u8]) -> String {
    match read(&begin(rest)).0 {
        Err(failure) => failure.to_string(),
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn what_a_jvm_sent_is_read_to_its_last_byte() {
    for (name, bytes) in captured() {
        let (outcome, left) = read(&bytes);
        assert_eq!(left, 0, "{name}");
        match outcome {
            Ok(reply) => assert!(datum(&reply).is_ok(), "{name}"),
            Err(failure @ Failure::Thrown(_)) => {
                assert!(name.starts_with("thrown"), "{name}: {failure}");
            }
            Err(failure) => panic!("{name}: {failure}"),
        }
    }
}

#[test]
fn no_beginning_of_a_reply_is_taken_for_the_whole() {
    for (name, bytes) in captured() {
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 400) {
            let (outcome, _) = read(&bytes[..end]);
            assert!(
                matches!(outcome, Err(Failure::Lost(_))),
                "{name} cut after {end} bytes"
            );
        }
    }
}

#[test]
fn a_line_of_ancestors_may_not_be_endless() {
    let mut class = vec![0x73, 0x72, 0, 1, b'A'];
    class.extend([0; 8]);
    class.extend([2, 0, 0, 0x78]);
    let mut circle = class.clone();
    circle.extend([0x71, 0, 0x7e, 0, 0]);
    assert_eq!(
        refusal(&circle),
        "what came back cannot be read: a class has more than 64 ancestors"
    );
    let mut long = vec![0x73];
    for _ in 0..100 {
        long.extend(&class[1..]);
    }
    assert_eq!(
        refusal(&long),
        "what came back cannot be read: a class has more than 64 ancestors"
    );
}

#[test]
fn many_references_to_one_thing_do_not_multiply_it() {
    // A map that holds itself twice: 2^16 members if it were written out as deep as is looked.
    let mut class = vec![0, 17];
    class.extend(b"java.util.HashMap");
    class.extend([0; 8]);
    class.extend([3, 0, 0, 0x78, 0x70]);
    let mut bytes = vec![0x73, 0x72];
    bytes.extend(&class);
    // Itself, twice, under two names.
    for _ in 0..2 {
        bytes.extend([0x74, 0, 1, b'k', 0x71, 0, 0x7e, 0, 1]);
    }
    bytes.push(0x78);
    let (outcome, _) = read(&begin(&bytes));
    let reply = outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(
        datum(&reply),
        Err(Failure::garbled(
            "the values of a reply have more than 65536 members in all"
        ))
    );
}

#[test]
fn a_whole_number_beyond_every_double_is_told_by_its_class() {
    let magnitude = |length: u8| {
        let mut bytes = vec![0x73, 0x72, 0, 20];
        bytes.extend(b"java.math.BigInteger");
        bytes.extend([0; 8]);
        bytes.extend([2, 0, 2, b'I', 0, 6]);
        bytes.extend(b"signum[");
        bytes.extend([0, 9]);
        bytes.extend(b"magnitude");
        bytes.extend([0x74, 0, 2, b'[', b'B', 0x78, 0x70, 0, 0, 0, 1]);
        bytes.extend([0x75, 0x72, 0, 2, b'[', b'B']);
        bytes.extend([0; 8]);
        bytes.extend([2, 0, 0, 0x78, 0x70, 0, 0, 0, length]);
        bytes.extend(std::iter::repeat_n(1, usize::from(length)));
        let reply = read(&begin(&bytes)).0.unwrap_or_else(|why| panic!("{why}"));
        datum(&reply)
    };
    assert_eq!(magnitude(2), Ok(Datum::Float(257.0)));
    assert_eq!(
        magnitude(129),
        Ok(Datum::Other("java.math.BigInteger".into()))
    );
}

#[test]
fn text_is_read_as_java_writes_it() {
    let text = |bytes: &[u8]| {
        let mut rest = vec![0x74, 0, u8::try_from(bytes.len()).unwrap()];
        rest.extend(bytes);
        let (outcome, _) = read(&begin(&rest));
        let reply = outcome.unwrap_or_else(|failure| panic!("{failure}"));
        reply.graph.text(reply.value).unwrap().to_owned()
    };
    assert_eq!(text("plain é".as_bytes()), "plain é");
    assert_eq!(text(&[b'a', 0xc0, 0x80, b'b']), "a\0b");
    assert_eq!(text(&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]), "😀");
    assert_eq!(text(&[0xff, b'x']), "\u{fffd}x");
    assert_eq!(text(&[0xe2, 0x82]), "\u{2080}", "cut short, and no panic");
}

proptest! {
    #[test]
    fn a_damaged_reply_never_panics(
        which: Index,
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..20),
        cut in any::<Option<Index>>(),
        doubled in any::<Option<(Index, Index)>>(),
    ) {
        let all = captured();
        let mut bytes = which.get(&all).1.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some((from, to)) = doubled {
            let part = bytes[from.index(bytes.len())..].to_vec();
            let to = to.index(bytes.len());
            bytes.splice(to..to, part);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let (Ok(reply), _) = read(&bytes) {
            drop(datum(&reply));
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let (Ok(reply), _) = read(&begin(&bytes)) {
            drop(datum(&reply));
        }
    }
}
