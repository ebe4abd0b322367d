//! Email: tells people.

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Names, Outcome, Outputs, Recovery, Report,
    Scope, Settings,
};
use crate::clients::mail::{Address, Message, parse_address};
use crate::error::{Error, Result};
use crate::models::StepTarget;

/// Recipients that one step writes to at the same time.
const AT_ONCE: usize = 4;

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
                let place = if one { "address".into() } else { format!("address[{index}]") };
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

async fn send(message: &Message, to: &Address, attempt: &Attempt) -> Entry {
    let begin = Instant::now();
    let mailer = &attempt.tools.mailer;
    let sent = mailer.send(message, to, &attempt.token, attempt.deadline);
    let (stdout, error) = match sent.await {
        Ok(answer) => (answer, None),
        Err(cause) => (String::new(), Some(cause.to_string())),
    };
    Entry {
        subject: to.to_string(),
        succeeded: error.is_none(),
        stdout,
        error,
        took_ms: i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX),
        ..Entry::default()
    }
}

fn outcome(message: &Message, entries: Vec<Entry>) -> Outcome {
    let refused: Vec<_> = entries.iter().filter_map(|entry| entry.error.as_deref()).collect();
    let fault = (!refused.is_empty()).then(|| Error::Upstream {
        what: refused.join("; "),
        retryable: false,
    });
    let mut outputs = Outputs::new();
    outputs.insert("recipients".into(), entries.len().into());
    outputs.insert("refused".into(), refused.len().into());
    outputs.insert("title".into(), message.title.clone().into());
    Outcome {
        outputs,
        report: Report(entries),
        fault,
    }
}
