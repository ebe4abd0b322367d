//! Jolokia: JMX over HTTP and JSON, for JVMs that expose nothing else.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::datum::Datum;
use super::failure::{Failure, Thrown, clipped};
use super::session::{Credentials, Described};
use super::tls::Tls;

/// A longer answer is not read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// An unused connection is closed after so long; above the longest usual tick.
const IDLE: Duration = Duration::from_mins(5);

/// What Jolokia answers to one request of a bulk.
#[derive(Deserialize)]
struct Answer {
    status: i64,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_type: String,
}

/// A Jolokia agent.
pub struct Jolokia {
    client: Client,
    url: String,
}

impl Jolokia {
    /// The agent at an address.
    pub(super) fn new(url: &str, tls: Option<&Tls>) -> Result<Self, Failure> {
        let no_client =
            |cause: String| Failure::Refused(format!("no HTTP client for {url}: {cause}"));
        let config = match tls {
            Some(tls) => tls.config(),
            None => Tls::nobody().map_err(no_client)?,
        };
        let client = Client::builder()
            .redirect(Policy::none())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .no_proxy()
            .tls_backend_preconfigured(config)
            .build()
            .map_err(|cause| no_client(cause.to_string()))?;
        Ok(Self {
            client,
            url: url.to_owned(),
        })
    }

    /// Attributes of any MBeans, in one request.
    pub(super) async fn attributes(
        &self,
        credentials: Option<&Credentials>,
        asked: &[(&str, &str)],
    ) -> Result<Vec<Result<Datum, Failure>>, Failure> {
        let read = |(mbean, attribute): &(&str, &str)| json!({"type": "read", "mbean": mbean, "attribute": attribute});
        let request: Vec<Value> = asked.iter().map(read).collect();
        let answers = self.ask(credentials, request).await?;
        let value = |answer: Answer| answer.value().map(datum);
        Ok(answers.into_iter().map(value).collect())
    }

    /// The names of all MBeans.
    pub(super) async fn names(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<String>, Failure> {
        let found = self.one(credentials, json!({"type": "search", "mbean": "*:*"}));
        match found.await? {
            Value::Array(names) => Ok(names.into_iter().filter_map(text).collect()),
            _ => Err(Failure::garbled("a search without a list of names")),
        }
    }

    /// The attributes of an MBean.
    pub(super) async fn describe(
        &self,
        credentials: Option<&Credentials>,
        mbean: &str,
    ) -> Result<Vec<Described>, Failure> {
        let path = mbean.split_once(':').unwrap_or((mbean, ""));
        let path = format!("{}/{}", escaped(path.0), escaped(path.1));
        let listed = self.one(credentials, json!({"type": "list", "path": path}));
        let Value::Object(mut mbean) = listed.await? else {
            return Err(Failure::garbled("an MBean without a description"));
        };
        let Some(Value::Object(attributes)) = mbean.remove("attr") else {
            return Ok(Vec::new());
        };
        let described = |(name, attribute): (String, Value)| {
            let word = |key: &str| {
                attribute
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            Described {
                name,
                class: word("type").to_owned(),
                description: word("desc").to_owned(),
                readable: true,
            }
        };
        Ok(attributes.into_iter().map(described).collect())
    }

    async fn one(
        &self,
        credentials: Option<&Credentials>,
        request: Value,
    ) -> Result<Value, Failure> {
        let answers = self.ask(credentials, vec![request]).await?;
        match answers.into_iter().next() {
            Some(answer) => answer.value(),
            None => Err(Failure::garbled("no answer to a request")),
        }
    }

    async fn ask(
        &self,
        credentials: Option<&Credentials>,
        requests: Vec<Value>,
    ) -> Result<Vec<Answer>, Failure> {
        let count = requests.len();
        let mut request = self.client.post(&self.url).json(&requests);
        if let Some(Credentials { user, password }) = credentials {
            request = request.basic_auth(user, Some(password.expose_secret()));
        }
        let mut response = request.send().await.map_err(|cause| self.lost(&cause))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refused(status, credentials));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| self.lost(&cause))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                let most = MAX_ANSWER / 1024;
                return Err(Failure::garbled(format!(
                    "an answer is longer than {most} KiB"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let answers: Vec<Answer> = serde_json::from_slice(&body).map_err(|cause| {
            let url = &self.url;
            Failure::Refused(format!(
                "what answers at {url} is no Jolokia agent: {cause}"
            ))
        })?;
        if answers.len() != count {
            let got = answers.len();
            return Err(Failure::garbled(format!(
                "{got} answers to {count} requests"
            )));
        }
        Ok(answers)
    }

    fn refused(&self, status: StatusCode, credentials: Option<&Credentials>) -> Failure {
        let url = &self.url;
        Failure::Refused(match (status, credentials) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(credentials)) => {
                let user = &credentials.user;
                format!("the Jolokia agent at {url} refused the login as \"{user}\" ({status})")
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                format!("the Jolokia agent at {url} wants a login ({status})")
            }
            _ => format!("{url} answered {status}: is this the address of a Jolokia agent?"),
        })
    }

    /// The innermost cause says it in plain words; those around it name the address again.
    fn lost(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::Lost(format!("could not ask {}: {cause}", self.url))
    }
}

impl Answer {
    fn value(self) -> Result<Value, Failure> {
        if self.status == 200 {
            return Ok(self.value);
        }
        let class = if self.error_type.is_empty() {
            format!("status {}", self.status)
        } else {
            self.error_type
        };
        let message = self
            .error
            .strip_prefix(&class)
            .map(|rest| rest.trim_start_matches([' ', ':']));
        Err(Failure::Thrown(Thrown {
            message: clipped(message.unwrap_or(&self.error)),
            class,
            root: None,
        }))
    }
}

/// Jolokia writes paths with `!` before what would part them.
fn escaped(part: &str) -> String {
    part.replace('!', "!!").replace('/', "!/")
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The reader of JSON bounds how deep this goes.
fn datum(value: Value) -> Datum {
    match value {
        Value::Null => Datum::Null,
        Value::Bool(yes) => Datum::Bool(yes),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Datum::Integer(whole),
            None => Datum::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Datum::Text(text),
        Value::Array(items) => Datum::List(items.len()),
        Value::Object(members) => object(members),
    }
}

/// An MBean's name is wrapped in an object of its own.
fn object(members: Map<String, Value>) -> Datum {
    match members.get("objectName") {
        Some(Value::String(name)) if members.len() == 1 => Datum::Text(name.clone()),
        _ => Datum::Members(
            members
                .into_iter()
                .map(|(name, value)| (name, datum(value)))
                .collect(),
        ),
    }
}
