use super::fake::{self, Java};
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Sends these bytes to whoever connects, then keeps the connection open or closes it.
async fn server(bytes: Vec<u8>, close: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                socket.write_all(&bytes).await.ok();
                if close {
                    socket.shutdown().await.ok();
                }
                // What is left unread at a close resets the connection, and a reset may overtake what was sent.
                let mut heard = Vec::new();
                socket.read_to_end(&mut heard).await.ok();
            });
        }
    });
    port
}

/// The greeting of an RMI server, and the beginning of an answer.
fn greeting(rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x4e, 0, 1, b'h', 0, 0, 0, 1];
    bytes.extend([0x51, 0xac, 0xed, 0, 5, 0x77, 15, 1]);
    bytes.extend([0; 14]);
    bytes.extend(rest);
    bytes
}

async fn refusal(bytes: Vec<u8>, close: bool) -> String {
    let port = server(bytes, close).await;
    let why = depth(&eager_jmx(), &reached(port, None, None))
        .await
        .unwrap_err();
    why.replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn a_server_that_is_no_jvm_is_told_as_such() {
    let garbage: Vec<u8> = std::iter::repeat_with(rand::random::<u8>)
        .filter(|byte| !matches!(byte, 0x4e | 0x4f | 0x15))
        .take(10_000)
        .collect();
    for bytes in [
        garbage,
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
    ] {
        let why = refusal(bytes, false).await;
        assert!(
            why.starts_with(
                "could not log in to 127.0.0.1:PORT: what answers there is no RMI server"
            ),
            "{why}"
        );
    }
    assert_eq!(
        refusal(vec![0x15, 3, 3, 0, 2, 2, 80], true).await,
        "could not log in to 127.0.0.1:PORT: the server expects TLS: set tls: true in the jvm profile"
    );
    assert_eq!(
        refusal(Vec::new(), true).await,
        "could not log in to 127.0.0.1:PORT: the JVM closed the connection"
    );
    assert_eq!(
        refusal(Vec::new(), false).await,
        "127.0.0.1:PORT did not answer within 2 s",
        "it accepts and says nothing"
    );
}

#[tokio::test]
async fn hostile_answers_are_refused_before_they_cost_anything() {
    let cannot = "could not log in to 127.0.0.1:PORT: what came back cannot be read: ";
    let mut array = vec![0x75, 0x72, 0, 2, b'[', b'J'];
    array.extend([0; 8]);
    array.extend([2, 0, 0, 0x78, 0x70, 0x40, 0, 0, 0]);
    let mut text = vec![0x7c];
    text.extend((1_u64 << 30).to_be_bytes());
    let mut nested = Vec::new();
    for nth in 0..100_000_u32 {
        nested.extend([0x75, if nth == 0 { 0x72 } else { 0x71 }]);
        if nth == 0 {
            nested.extend([0, 2, b'[', b'L']);
            nested.extend([0; 8]);
            nested.extend([2, 0, 0, 0x78, 0x70]);
        } else {
            nested.extend([0, 0x7e, 0, 0]);
        }
        nested.extend([0, 0, 0, 1]);
    }
    let cases = [
        (array, "a reply holds more than 65536 values"),
        (text, "a reply is longer than 1024 KiB"),
        (nested, "objects are nested more than 64 deep"),
        (
            vec![0x71, 0, 0x7e, 0, 9],
            "a reply refers to an object that it does not hold (0x7e0009)",
        ),
        (vec![0x70], "nothing does not say where the JMX server is"),
    ];
    for (bytes, why) in cases {
        assert_eq!(
            refusal(greeting(&bytes), false).await,
            format!("{cannot}{why}")
        );
    }
}

/// A list of attributes of one name, whose value is one map with one long text everywhere in it.
fn attributes(count: usize, name: &str, entries: usize) -> Vec<u8> {
    let mut java = Java::reply();
    java.object("javax.management.AttributeList", 3, &[]);
    let long = java.text(&"9".repeat(850_000));
    let (attribute, _) = java.object("javax.management.Attribute", 2, &["name", "value"]);
    let name = java.text(name);
    let map = java.map(long, entries);
    for _ in 1..count {
        java.another(attribute);
        java.again(name);
        java.again(map);
    }
    java.end();
    java.bytes
}

/// The most memory that this process ever had.
pub(super) fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: usize = peak.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib / 1024
}

#[tokio::test]
async fn a_long_text_that_many_members_refer_to_is_not_copied_for_each() {
    let port = fake::jvm(attributes(1, "QueueDepth", 16_000)).await;
    let why = depth(&eager_jmx(), &reached(port, None, None)).await;
    assert_eq!(
        why,
        Err(format!(
            "127.0.0.1:{port}: what came back cannot be read: the texts of a reply come to more than 1024 KiB"
        ))
    );
    assert!(peak_mib() < 512, "{} MiB", peak_mib());
}

#[tokio::test]
async fn an_attribute_that_a_jvm_names_thousands_of_times_is_converted_once() {
    let port = fake::jvm(attributes(8_000, "QueueDepth", 100)).await;
    let value = depth(&eager_jmx(), &reached(port, None, None)).await;
    let Ok(Datum::Members(members)) = value else {
        panic!("{value:?}");
    };
    assert_eq!(members.len(), 100);
    for (name, member) in members {
        assert_eq!(name, format!("{}…", "9".repeat(1024)));
        let why = member.number().unwrap_err();
        assert!(
            why.ends_with("a number is needed"),
            "cut, so no number: {why}"
        );
    }
    // The names of attributes that nobody asked for are not copied at all.
    let port = fake::jvm(attributes(8_000, &"9".repeat(1_000), 100)).await;
    let value = depth(&eager_jmx(), &reached(port, None, None)).await;
    assert_eq!(
        value,
        Ok(Datum::Other("javax.management.AttributeList".into())),
        "asked for by itself, it gives the same once more"
    );
    assert!(peak_mib() < 512, "{} MiB", peak_mib());
}
