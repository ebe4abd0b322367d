//! Jolokia: JMX over HTTP and JSON, for JVMs that expose nothing else.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::datum::Datum;
use super::failure::{Failure, Thrown, clipped};
use super::json::{Attributes, Names, Read};
use super::session::{Credentials, Described};
use super::stream::Limits;
use super::tls::Tls;

/// An unused connection is closed after so long; above the longest usual tick.
const IDLE: Duration = Duration::from_mins(5);

/// What Jolokia answers to one request of a bulk.
#[derive(Deserialize)]
struct Answer<T> {
    status: i64,
    value: Option<T>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_type: String,
}

/// An MBean in a list of them.
#[derive(Deserialize)]
struct Listed {
    attr: Option<Attributes>,
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
        // What was thrown is told by its first line; the others would make a long answer of it.
        let config = json!({"includeStackTrace": "false"});
        let read = |(mbean, attribute): &(&str, &str)| json!({"type": "read", "mbean": mbean, "attribute": attribute, "config": config});
        let request: Vec<Value> = asked.iter().map(read).collect();
        let body = self.ask(credentials, &request, Limits::READ).await?;
        let answers: Vec<Answer<Read>> = self.parse(&body)?;
        if answers.len() != asked.len() {
            let (got, count) = (answers.len(), asked.len());
            return Err(Failure::garbled(format!(
                "{got} answers to {count} requests"
            )));
        }
        let value = |answer: Answer<Read>| {
            let value = answer.value()?;
            Ok(value.map_or(Datum::Null, |Read(datum)| datum))
        };
        Ok(answers.into_iter().map(value).collect())
    }

    /// Whether the agent itself answers, whatever its MBeans do.
    pub(super) async fn ping(&self, credentials: Option<&Credentials>) -> Result<(), Failure> {
        let request = json!({"type": "version"});
        let version: Option<IgnoredAny> = self.one(credentials, request, Limits::READ).await?;
        version
            .map(drop)
            .ok_or_else(|| Failure::garbled("a version that says nothing"))
    }

    /// The names of all MBeans.
    pub(super) async fn names(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<String>, Failure> {
        let request = json!({"type": "search", "mbean": "*:*"});
        match self.one(credentials, request, Limits::BROWSE).await? {
            Some(Names(names)) => Ok(names),
            None => Err(Failure::garbled("a search without a list of names")),
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
        let request = json!({"type": "list", "path": path});
        let Some(listed) = self.one(credentials, request, Limits::BROWSE).await? else {
            return Err(Failure::garbled("an MBean without a description"));
        };
        let Listed { attr } = listed;
        let Attributes(attributes) = attr.unwrap_or(Attributes(Vec::new()));
        let described = attributes.into_iter().map(|(name, words)| Described {
            name,
            class: words.class,
            description: words.description,
            readable: true,
        });
        Ok(described.collect())
    }

    async fn one<T: DeserializeOwned>(
        &self,
        credentials: Option<&Credentials>,
        request: Value,
        limits: Limits,
    ) -> Result<Option<T>, Failure> {
        let body = self.ask(credentials, &[request], limits).await?;
        // A long one would hold up the other JVMs.
        let [answer]: [Answer<T>; 1] = block_in_place(|| self.parse(&body))?;
        answer.value()
    }

    async fn ask(
        &self,
        credentials: Option<&Credentials>,
        requests: &[Value],
        limits: Limits,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = self.client.post(&self.url).json(requests);
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
            if body.len() + chunk.len() > limits.bytes {
                let most = limits.bytes / 1024;
                return Err(Failure::garbled(format!(
                    "an answer is longer than {most} KiB"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let stranger = |cause: serde_json::Error| {
            let url = &self.url;
            Failure::Refused(format!(
                "what answers at {url} is no Jolokia agent: {cause}"
            ))
        };
        // One request that cannot be understood, such as a name that is none, has the whole bulk refused in one answer.
        if body.trim_ascii_start().starts_with(b"{") {
            let answer: Answer<IgnoredAny> = serde_json::from_slice(body).map_err(stranger)?;
            answer.value()?;
            return Err(Failure::garbled("one answer to a list of requests"));
        }
        serde_json::from_slice(body).map_err(stranger)
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

impl<T> Answer<T> {
    fn value(self) -> Result<Option<T>, Failure> {
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
