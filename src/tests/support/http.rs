//! A client that says exactly what a test wants said, forged headers included; one connection per request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case; several `set-cookie` are joined by newlines.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|cause| panic!("no JSON ({cause}): {self:?}"))
    }

    /// Fails with the whole answer unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The sentence of a problem document.
    pub fn detail(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// A request before it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", kind)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self, to: SocketAddr) -> Answer {
        let exchange = async {
            let stream = TcpStream::connect(to).await.unwrap();
            let (mut reader, mut writer) = stream.into_split();
            let head = self.head(to);
            let body = self.body;
            // Written beside the reading: a server may answer before it has taken everything.
            let writing = tokio::spawn(async move {
                writer.write_all(head.as_bytes()).await?;
                writer.write_all(&body).await?;
                Ok::<_, std::io::Error>(writer)
            });
            let mut raw = Vec::new();
            reader.read_to_end(&mut raw).await.unwrap();
            writing.await.unwrap().ok();
            parse(&raw)
        };
        timeout(LIMIT, exchange).await.expect("an answer in time")
    }

    fn head(&self, to: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if !self.has("host") {
            line("host", &to.to_string());
        }
        if self.method != "GET" && !self.has("transfer-encoding") {
            line("content-length", &self.body.len().to_string());
        }
        line("connection", "close");
        for (name, value) in &self.headers {
            line(name, value);
        }
        head + "\r\n"
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }
}

fn parse(raw: &[u8]) -> Answer {
    let end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(raw)));
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let known = headers.entry(name.to_lowercase()).or_default();
        if !known.is_empty() {
            known.push('\n');
        }
        known.push_str(value.trim());
    }
    let mut body = raw[end + 4..].to_vec();
    if headers
        .get("transfer-encoding")
        .is_some_and(|it| it == "chunked")
    {
        body = dechunk(&body);
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn dechunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&raw[end + 2..end + 2 + length]);
        raw = &raw[end + 2 + length + 2..];
    }
    body
}
