//! Email: tells people.

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Names, Outcome, Outputs, Recovery, Report,
    Scope, Settings,
};
use crate::clients::mail::{Address, Message, Unsent, parse_address};
use crate::error::{Error, Result};
use crate::models::StepTarget;

/// Recipients that one step writes to at the same time.
const AT_ONCE: usize = 4;
/// The output that names the recipients who have the mail, while others do not.
const SENT: &str = "sent";

/// The settings of an Email.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/email.html")]
pub struct Email {
    /// The recipients.
    pub address: Vec<String>,
    /// The subject.
    pub title: String,
    /// The text.
    pub content: String,
    /// Whether it may be sent again after a crash has hidden whether it was sent.
    pub repeatable: bool,
}

impl Settings for Email {
    const FACTS: Facts = Facts::plain("Sends a mail.", &[StepTarget::None]);
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"address": ["a@example.org", "B <b@example.org>"], "title": "{{ trigger.name }} fired", "content": "<b>why</b>: {{ run.reason }}"}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let email = Self {
            address: fields.templates("address", Names::Run),
            title: fields.template("title", Names::Run),
            content: fields.template("content", Names::Run),
            repeatable: fields.switch("repeatable"),
        };
        for (index, address) in email.address.iter().enumerate() {
            // With names in it, it is an address only once they are filled in.
            if !address.contains("{{")
                && !address.is_empty()
                && let Err(message) = parse_address(address)
            {
                let one = email.address.len() == 1;
                let place = if one {
                    "address".into()
                } else {
                    format!("address[{index}]")
                };
                fields.fault(&place, message);
            }
        }
        if email.title.contains(['\r', '\n']) {
            fields.fault("title", "must be a single line");
        }
        email
    }
}

impl Action for Email {
    fn recovery(&self) -> Recovery {
        if self.repeatable {
            Recovery::Repeat
        } else {
            Recovery::AskAPerson
        }
    }

    fn summary(&self) -> String {
        format!("to {}: {}", self.address.join(", "), self.title)
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of an Email as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let mut to: Vec<Address> = Vec::new();
        for address in &self.address {
            let filled = scope.fill("address", address)?;
            let parsed = parse_address(&filled);
            to.push(parsed.map_err(|message| Error::invalid("address", message))?);
        }
        // A value that spans lines is shown in one, instead of failing a mail at night.
        let title = scope.fill("title", &self.title)?;
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let content = scope.fill("content", &self.content)?;
        Ok(Box::new(Message { to, title, content }))
    }
}

impl Effect for Message {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let work = self.to.iter().map(|to| send(self, to, attempt));
            let results = stream::iter(work.collect::<Vec<_>>())
                .buffered(AT_ONCE)
                .collect()
                .await;
            outcome(self, results)
        }
        .boxed()
    }
}

/// Sends to one recipient, unless an earlier attempt did.
async fn send(message: &Message, to: &Address, attempt: &Attempt) -> (Entry, Option<Unsent>) {
    let begin = Instant::now();
    let earlier = attempt.noted.get(SENT).and_then(Value::as_array);
    let result = if earlier.is_some_and(|sent| sent.contains(&to.to_string().into())) {
        Ok("sent by an earlier attempt".to_owned())
    } else {
        let mailer = &attempt.tools.mailer;
        mailer
            .send(message, to, &attempt.token, attempt.deadline)
            .await
    };
    let (stdout, unsent) = match result {
        Ok(answer) => (answer, None),
        Err(unsent) => (String::new(), Some(unsent)),
    };
    let entry = Entry {
        subject: to.to_string(),
        succeeded: unsent.is_none(),
        stdout,
        error: unsent.as_ref().map(|unsent| unsent.cause.to_string()),
        took_ms: i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX),
        ..Entry::default()
    };
    (entry, unsent)
}

/// What one recipient's server refuses for good does not keep another from being asked again; who may have the mail already does.
fn outcome(message: &Message, results: Vec<(Entry, Option<Unsent>)>) -> Outcome {
    let (entries, unsent): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let unsent: Vec<Unsent> = unsent.into_iter().flatten().collect();
    let passing = |unsent: &Unsent| {
        matches!(
            unsent.cause,
            Error::Upstream {
                retryable: true,
                ..
            }
        )
    };
    let causes: Vec<_> = unsent
        .iter()
        .map(|unsent| unsent.cause.to_string())
        .collect();
    let fault = (!unsent.is_empty()).then(|| Error::Upstream {
        what: causes.join("; "),
        retryable: unsent.iter().any(passing),
    });
    let mut outputs = Outputs::new();
    outputs.insert("recipients".into(), entries.len().into());
    outputs.insert("refused".into(), unsent.len().into());
    outputs.insert("title".into(), message.title.clone().into());
    if fault.is_some() {
        let sent = entries.iter().filter(|entry| entry.succeeded);
        let sent: Vec<Value> = sent.map(|entry| entry.subject.clone().into()).collect();
        outputs.insert(SENT.into(), sent.into());
    }
    Outcome {
        harmless: !unsent.iter().any(|unsent| unsent.perhaps),
        outputs,
        report: Report(entries),
        fault,
    }
}
