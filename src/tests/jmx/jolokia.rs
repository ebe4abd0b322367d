//! Faults behind a Jolokia agent: of a real one, and of servers that answer as none would.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::hostile::peak_mib;
use super::*;

const SLOW: &str = "lab:type=Slow";

pub(super) fn behind(port: u16, password: &str) -> (Arc<Reached>, String) {
    let url = format!("http://127.0.0.1:{port}/jolokia");
    let login = Some((LOGIN.0.to_owned(), password.into()));
    let reached = Reached::new(Way::Jolokia(url.clone()), login, None);
    (Arc::new(reached), url)
}

fn within(limit: Duration, mbean: &str, attribute: &str) -> Ask {
    Ask {
        limit,
        ..ask(mbean, attribute)
    }
}

#[tokio::test]
async fn what_an_agent_cannot_read_never_takes_the_others_along() {
    let jvm = Jvm::with_jolokia();
    let (jmx, (way, url)) = (jmx(), behind(jvm.http_port, LOGIN.1));
    let asks = [
        (APP, "QueueDepth"),
        (APP, "Missing"),
        (APP, "Broken"),
        ("lab:type=Nobody", "QueueDepth"),
        ("lab:type=,", "QueueDepth"),
        (SLOW, "Slow"),
        (APP, "Load"),
        (MEMORY, "Verbose"),
        (SLOW, "QueueDepth"),
        (APP, "Version"),
        (APP, "NoNumber"),
    ]
    .map(|(mbean, attribute)| within(2 * SECOND, mbean, attribute));
    for round in 0..2 {
        let begun = Instant::now();
        let told = read(&jmx, &way, &asks).await;
        let outcomes: Vec<_> = told.into_iter().map(|told| told.outcome).collect();
        assert_eq!(outcomes[0], Ok(Datum::Integer(7)), "round {round}");
        assert_eq!(outcomes[6], Ok(Datum::Float(0.25)));
        assert_eq!(outcomes[7], Ok(Datum::Bool(false)));
        assert_eq!(outcomes[8], Ok(Datum::Integer(7)), "beside a slow one");
        let why = |nth: usize| outcomes[nth].clone().unwrap_err();
        assert_eq!(
            why(1),
            format!("MBean \"{APP}\" of the JVM at {url} has no attribute \"Missing\"")
        );
        assert!(why(2).contains("the pool is closed"), "{}", why(2));
        assert_eq!(
            why(3),
            format!("the JVM at {url} has no MBean \"lab:type=Nobody\"")
        );
        assert!(
            why(4).starts_with("\"lab:type=,\" is no MBean's name: "),
            "{}",
            why(4)
        );
        assert!(
            why(5).starts_with(&format!("{url} did not answer within 2 s")),
            "{}",
            why(5)
        );
        for nth in [9, 10] {
            let why = outcomes[nth].clone().unwrap().number().unwrap_err();
            assert!(
                why.contains("a number is needed") || why.contains("is NaN"),
                "{why}"
            );
        }
        if round == 1 {
            assert!(
                begun.elapsed() < 4 * SECOND,
                "known by now, the slow one costs its own time alone: {:?}",
                begun.elapsed()
            );
        }
    }
}

#[tokio::test]
async fn a_slow_attribute_that_takes_all_of_a_tick_is_found_over_the_next_ones() {
    let jvm = Jvm::with_jolokia();
    let (jmx, (way, _)) = (jmx(), behind(jvm.http_port, LOGIN.1));
    // The way over RMI learns in the same manner.
    let rmi = reached(jvm.port, None, None);
    let asks = [(SLOW, "Slow"), (SLOW, "QueueDepth"), (APP, "QueueDepth")]
        .map(|(mbean, attribute)| ask(mbean, attribute));
    for way in [way, rmi] {
        let mut read = Vec::new();
        for _ in 0..4 {
            let told = jmx.read(&way, asks.to_vec(), Instant::now() + 2 * SECOND);
            let told = told.await.unwrap();
            read = told.into_iter().map(|told| told.outcome).collect();
            if read[1].is_ok() && read[2].is_ok() {
                break;
            }
        }
        assert_eq!(read[1..], [Ok(Datum::Integer(7)), Ok(Datum::Integer(7))]);
        assert!(read[0].is_err());
    }
}

#[tokio::test]
async fn a_frozen_agent_is_told_is_left_alone_for_a_while_and_comes_back() {
    let jvm = Jvm::with_jolokia();
    let (way, url) = behind(jvm.http_port, LOGIN.1);
    let jmx = eager_jmx();
    assert_eq!(depth(&jmx, &way).await, Ok(Datum::Integer(7)));
    jvm.freeze();
    let asks = [APP, MEMORY].map(|mbean| within(SECOND, mbean, "Verbose"));
    let begun = Instant::now();
    for told in read(&jmx, &way, &asks).await {
        let why = format!("{url} did not answer within 1 s");
        assert_eq!(told.outcome, Err(why));
    }
    assert!(
        begun.elapsed() < 10 * SECOND,
        "the agent itself is asked once, not every attribute: {:?}",
        begun.elapsed()
    );
    let patient = super::jmx();
    read(&patient, &way, &asks).await;
    let begun = Instant::now();
    let paused = depth(&patient, &way).await.unwrap_err();
    assert!(paused.contains("did not answer within 1 s"), "{paused}");
    assert!(
        begun.elapsed() < SECOND,
        "no attempt while it is left alone"
    );
    jvm.thaw();
    assert_eq!(depth(&jmx, &way).await, Ok(Datum::Integer(7)));

    let (stranger, url) = behind(jvm.http_port, "hunter2");
    assert_eq!(
        depth(&jmx, &stranger).await,
        Err(format!(
            "the Jolokia agent at {url} refused the login as \"monitorRole\" (401 Unauthorized)"
        ))
    );
}

/// What a server answers to a list of requests.
type Answers = fn(&[Value]) -> String;

/// How many attributes each request asked for.
type Asked = Arc<Mutex<Vec<usize>>>;

/// A server that answers as it likes.
async fn agent(answers: Answers) -> (Arc<Reached>, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (way, _) = behind(listener.local_addr().unwrap().port(), "");
    let asked = Asked::default();
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, answers, Arc::clone(&heard)));
        }
    });
    (way, asked)
}

async fn serve(mut socket: TcpStream, answers: Answers, asked: Asked) {
    let mut heard = Vec::new();
    while let Ok(1..) = socket.read_buf(&mut heard).await {
        let Some(end) = heard.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        // A request is an array and ends with it.
        let Ok(requests) = serde_json::from_slice::<Vec<Value>>(&heard[end + 4..]) else {
            continue;
        };
        asked.lock().unwrap().push(requests.len());
        let body = answers(&requests);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await.unwrap();
        if socket.write_all(body.as_bytes()).await.is_err() {
            return;
        }
        heard.clear();
    }
}

fn answered(values: impl Iterator<Item = Value>) -> String {
    let answer = |value| json!({"status": 200, "value": value});
    Value::Array(values.map(answer).collect()).to_string()
}

#[tokio::test]
async fn a_value_that_is_too_long_is_asked_for_by_itself_from_then_on() {
    let (way, asked) = agent(|requests| {
        let big = "x".repeat(1024 * 1024);
        answered(
            requests
                .iter()
                .map(|request| match request["attribute"].as_str() {
                    Some("Big") => json!(big),
                    _ => json!(7),
                }),
        )
    })
    .await;
    let jmx = jmx();
    let asks = [
        ask(APP, "QueueDepth"),
        ask(APP, "Big"),
        ask(MEMORY, "Verbose"),
    ];
    for _ in 0..2 {
        asked.lock().unwrap().clear();
        let told = read(&jmx, &way, &asks).await;
        assert_eq!(told[0].outcome, Ok(Datum::Integer(7)));
        assert_eq!(told[2].outcome, Ok(Datum::Integer(7)));
        let why = told[1].outcome.as_ref().expect_err("too long");
        assert!(
            why.ends_with("what came back cannot be read: an answer is longer than 1024 KiB"),
            "{why}"
        );
    }
    assert_eq!(*asked.lock().unwrap(), [2, 1], "the others in one request");
}

#[tokio::test]
async fn an_answer_of_many_small_things_takes_little_memory() {
    let (way, _) = agent(|_| {
        let many = "[0],".repeat(250_000);
        format!("[{{\"status\":200,\"value\":[{many}[0]]}}]")
    })
    .await;
    let before = peak_mib();
    assert_eq!(depth(&jmx(), &way).await, Ok(Datum::List(250_001)));
    let (way, _) = agent(|_| {
        let many: String = (0..90_000).map(|nth| format!("\"{nth}\":0,")).collect();
        format!("[{{\"status\":200,\"value\":{{{many}\"\":0}}}}]")
    })
    .await;
    let value = depth(&jmx(), &way).await.unwrap();
    assert_eq!(value.members().len(), 90_001);
    let grown = peak_mib() - before;
    assert!(grown < 48, "{grown} MiB more");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told() {
    let cases: [(Answers, &str); 4] = [
        (|_| "<html>".into(), "is no Jolokia agent: expected value"),
        (|_| "[]".into(), "0 answers to 1 requests"),
        (|_| "[".repeat(500_000), "is no Jolokia agent: "),
        (
            |_| json!({"status": 200}).to_string(),
            "one answer to a list of requests",
        ),
    ];
    for (answers, reason) in cases {
        let (way, _) = agent(answers).await;
        let why = depth(&eager_jmx(), &way).await.unwrap_err();
        assert!(why.contains(reason), "{why}");
    }
}
