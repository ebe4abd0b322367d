//! Outgoing mail.

use secrecy::SecretString;

use super::source::Source;

/// How mail leaves; without a URL every mail is refused with a clear error.
#[derive(Debug, Clone)]
pub struct Mail {
    /// `HEADROOM_SMTP_URL`: `smtp://user:pass@host:587?tls=required`.
    pub smtp_url: Option<SecretString>,
    /// `HEADROOM_MAIL_FROM`: the sender.
    pub from: Option<String>,
}

impl Mail {
    pub(super) fn from_source(source: &mut Source) -> Self {
        let mail = Self {
            smtp_url: source.secret("smtp_url"),
            from: source.text("mail_from"),
        };
        if mail.smtp_url.is_some() && mail.from.is_none() {
            source.fault(
                "mail_from",
                "is missing: HEADROOM_SMTP_URL needs a sender address",
            );
        }
        mail
    }
}
