//! Email: tells people.

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
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
/// The output that names each recipient and what became of the mail to it.
const FATES: &str = "fates";

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
            let parsed = parsed.map_err(|message| Error::invalid("address", message))?;
            // Whoever is named twice gets one mail.
            if !to.contains(&parsed) {
                to.push(parsed);
            }
        }
        // A value that spans lines is shown in one, instead of failing a mail at night.
        let title = scope.fill("title", &self.title)?;
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let content = scope.fill("content", &self.content)?;
        Ok(Box::new(Mail {
            message: Message { to, title, content },
            repeatable: self.repeatable,
        }))
    }
}

/// A mail to be sent.
struct Mail {
    message: Message,
    /// See [`Email::repeatable`].
    repeatable: bool,
}

/// What became of the mail to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// The server has taken it.
    Sent,
    /// The server will not take it, or it cannot be sent.
    Refused,
    /// It was handed over, and the reply was lost.
    PerhapsSent,
    /// It was not sent, and may be later.
    NotYet,
}

/// A recipient and what became of the mail, as it stands in the step's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recipient {
    to: String,
    fate: Fate,
    /// What the server, or the connection to it, said.
    said: String,
    /// By which attempt; one that a person has begun anew asks again whom this one gave up.
    token: String,
}

impl Recipient {
    fn of(to: &Address, answer: Result<String, Unsent>, token: &str) -> Self {
        let (fate, said) = match answer {
            Ok(said) => (Fate::Sent, said),
            Err(unsent) => {
                let passes = matches!(
                    unsent.cause,
                    Error::Upstream {
                        retryable: true,
                        ..
                    }
                );
                let fate = match (unsent.perhaps, passes) {
                    (true, _) => Fate::PerhapsSent,
                    (false, true) => Fate::NotYet,
                    (false, false) => Fate::Refused,
                };
                (fate, unsent.cause.to_string())
            }
        };
        Self {
            to: to.to_string(),
            fate,
            said,
            token: token.to_owned(),
        }
    }
}

impl Effect for Mail {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let known = Mutex::new(known(attempt));
            let work = self.message.to.iter();
            let work = work.map(|to| self.send(to, attempt, &known));
            let entries: Vec<Entry> = stream::iter(work.collect::<Vec<_>>())
                .buffered(AT_ONCE)
                .collect()
                .await;
            self.outcome(entries, known.into_inner())
        }
        .boxed()
    }
}

/// The recipients that an earlier attempt has dealt with.
fn known(attempt: &Attempt) -> Vec<Recipient> {
    // What cannot be read was not written here.
    let recipients = attempt.noted.get(FATES).cloned();
    recipients
        .and_then(|recipients| serde_json::from_value(recipients).ok())
        .unwrap_or_default()
}

impl Mail {
    /// Whether a recipient is asked (again).
    fn is_open(&self, recipient: &Recipient, token: &str) -> bool {
        match recipient.fate {
            Fate::Sent => false,
            Fate::NotYet => true,
            Fate::PerhapsSent if self.repeatable => true,
            Fate::Refused | Fate::PerhapsSent => recipient.token != token,
        }
    }

    /// Sends to one recipient, unless an earlier attempt has settled that.
    async fn send(&self, to: &Address, attempt: &Attempt, known: &Mutex<Vec<Recipient>>) -> Entry {
        let begin = Instant::now();
        let name = to.to_string();
        let settled = {
            let known = known.lock().await;
            let mut settled = known.iter().filter(|one| one.to == name);
            let settled = settled.find(|one| !self.is_open(one, &attempt.token));
            settled.cloned()
        };
        let (recipient, before) = match settled {
            Some(recipient) => (recipient, true),
            None => {
                let mailer = &attempt.tools.mailer;
                let (token, deadline) = (&attempt.token, attempt.deadline);
                let answer = mailer.send(&self.message, to, token, deadline).await;
                let recipient = Recipient::of(to, answer, token);
                self.note(&recipient, attempt, known).await;
                (recipient, false)
            }
        };
        let sent = recipient.fate == Fate::Sent;
        Entry {
            subject: name,
            succeeded: sent,
            stdout: match (sent, before) {
                (true, true) => "sent by an earlier attempt".into(),
                (true, false) => recipient.said.clone(),
                (false, true) => "not asked again".into(),
                (false, false) => String::new(),
            },
            error: (!sent).then_some(recipient.said),
            took_ms: i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX),
            ..Entry::default()
        }
    }

    /// Writes down what became of the mail to one recipient, for whoever goes on after a crash.
    async fn note(&self, recipient: &Recipient, attempt: &Attempt, known: &Mutex<Vec<Recipient>>) {
        // Held while it is written, so that an older list never overwrites a newer one.
        let mut known = known.lock().await;
        known.retain(|one| one.to != recipient.to);
        known.push(recipient.clone());
        if recipient.fate == Fate::Sent
            && let Err(cause) = attempt.note(&self.outputs(&known)).await
        {
            // It stands in the outcome once more.
            tracing::warn!(to = recipient.to, %cause, "that a mail was sent could not be noted at once");
        }
    }

    fn outputs(&self, known: &[Recipient]) -> Outputs {
        let unsent = known.iter().filter(|one| one.fate != Fate::Sent);
        let mut outputs = Outputs::new();
        outputs.insert("recipients".into(), self.message.to.len().into());
        outputs.insert("refused".into(), unsent.count().into());
        outputs.insert("title".into(), self.message.title.clone().into());
        outputs.insert(FATES.into(), json!(known));
        outputs
    }

    /// What one recipient's server refuses for good does not keep another from being asked again; who may have the mail already does not get
    /// it a second time unless it may be repeated.
    fn outcome(&self, entries: Vec<Entry>, known: Vec<Recipient>) -> Outcome {
        // In the order of the addresses, whoever answered first.
        let place = |one: &Recipient| {
            let mut names = self.message.to.iter().map(Address::to_string);
            names.position(|name| name == one.to)
        };
        let mut known: Vec<_> = known
            .into_iter()
            .filter(|one| place(one).is_some())
            .collect();
        known.sort_by_key(place);
        let unsent = || known.iter().filter(|one| one.fate != Fate::Sent);
        let causes: Vec<_> = unsent().map(|one| one.said.as_str()).collect();
        let perhaps = self.repeatable && unsent().any(|one| one.fate == Fate::PerhapsSent);
        let fault = (!causes.is_empty()).then(|| Error::Upstream {
            what: causes.join("; "),
            retryable: perhaps || unsent().any(|one| one.fate == Fate::NotYet),
        });
        Outcome {
            harmless: !perhaps,
            outputs: self.outputs(&known),
            report: Report(entries),
            fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_asked_again_only_where_its_own_mail_did_not_arrive_and_still_may() {
        let mail = |repeatable| Mail {
            message: Message {
                to: Vec::new(),
                title: String::new(),
                content: String::new(),
            },
            repeatable,
        };
        for (fate, repeatable, by_itself, by_a_person) in [
            (Fate::Sent, false, false, false),
            (Fate::Sent, true, false, false),
            (Fate::Refused, false, false, true),
            (Fate::Refused, true, false, true),
            (Fate::PerhapsSent, false, false, true),
            (Fate::PerhapsSent, true, true, true),
            (Fate::NotYet, false, true, true),
        ] {
            let recipient = Recipient {
                to: "ops@example.org".into(),
                fate,
                said: String::new(),
                token: "first".into(),
            };
            let asked = ["first", "anew"].map(|token| mail(repeatable).is_open(&recipient, token));
            assert_eq!(asked, [by_itself, by_a_person], "{fate:?} {repeatable}");
        }
    }
}
