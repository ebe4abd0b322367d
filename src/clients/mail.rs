//! Outgoing mail by SMTP.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::error::{Error, Result};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// How long one exchange with the server may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// A recipient: `ops@example.org` or `Ops <ops@example.org>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Mailbox);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads an address.
///
/// # Errors
/// A sentence that says what an address looks like.
pub fn parse_address(text: &str) -> Result<Address, String> {
    Mailbox::from_str(text.trim()).map(Address).map_err(|_| {
        format!("\"{text}\" is not a mail address such as ops@example.org or Ops <ops@example.org>")
    })
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The recipients; each sees all of them.
    pub to: Vec<Address>,
    /// The subject, a single line.
    pub title: String,
    /// The text.
    pub content: String,
}

/// A mail that was not sent, as far as is known.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub cause: Error,
    /// Whether it may have been sent all the same: the reply to it was lost.
    pub perhaps: bool,
}

impl From<Error> for Unsent {
    fn from(cause: Error) -> Self {
        Self {
            cause,
            perhaps: false,
        }
    }
}

/// Sends mail; cheap to clone.
#[derive(Clone)]
pub struct Mailer(Option<Arc<Wire>>);

struct Wire {
    transport: Transport,
    server: String,
    from: Mailbox,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.0.as_ref().map(|wire| wire.server.as_str());
        f.debug_tuple("Mailer").field(&server).finish()
    }
}

impl Mailer {
    /// Reads `smtp://user:password@host:587?tls=required|opportunistic|none` (default `required`) or `smtps://user:password@host:465`; the
    /// user, the password and the port may be missing, and `ca=/path/ca.pem` names a certificate to trust beside the system's. Connects
    /// only when a mail is sent. Without a URL every mail is refused.
    ///
    /// # Errors
    /// The URL or the sender is not understood; no message shows the password.
    pub fn new(url: Option<&SecretString>, from: Option<&str>) -> Result<Self> {
        let Some(url) = url else {
            return Ok(Self(None));
        };
        let from = from.ok_or_else(|| Error::invalid("HEADROOM_MAIL_FROM", "is missing"))?;
        let from =
            parse_address(from).map_err(|text| Error::invalid("HEADROOM_MAIL_FROM", text))?;
        let (transport, server) = transport(url.expose_secret())
            .map_err(|message| Error::invalid("HEADROOM_SMTP_URL", message))?;
        Ok(Self(Some(Arc::new(Wire {
            transport,
            server,
            from: from.0,
        }))))
    }

    /// Whether a server is set.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Sends a mail to one of its recipients; gives what the server answered. `token` makes the message's id, by which a mailbox can tell a repetition.
    ///
    /// Each recipient is an exchange of its own: one that the server refuses does not keep the mail from the others.
    ///
    /// # Errors
    /// Mail is not set up, the server cannot be reached or refuses, the connection breaks off, or the deadline passes; only the last two leave
    /// open whether the mail was sent, and say so.
    pub async fn send(
        &self,
        message: &Message,
        to: &Address,
        token: &str,
        deadline: Instant,
    ) -> Result<String, Unsent> {
        let wire = self.0.as_ref().ok_or_else(|| {
            Error::Conflict(
                "mail is not set up: set HEADROOM_SMTP_URL and HEADROOM_MAIL_FROM and restart"
                    .into(),
            )
        })?;
        let envelope =
            lettre::address::Envelope::new(Some(wire.from.email.clone()), vec![to.0.email.clone()]);
        let envelope = envelope.map_err(|cause| Error::internal("a mail's envelope", cause))?;
        let raw = wire.compose(message, token)?.formatted();
        let answer = timeout_at(deadline, wire.transport.send_raw(&envelope, &raw)).await;
        match answer {
            Ok(Ok(response)) => Ok(response.message().collect::<Vec<_>>().join(" ")),
            Ok(Err(cause)) => Err(wire.failure(to, &cause)),
            Err(_) => Err(Unsent {
                cause: Error::Upstream {
                    what: format!(
                        "could not send mail to {to}: {} did not answer in time; it may have been sent nevertheless",
                        wire.server
                    ),
                    retryable: false,
                },
                perhaps: true,
            }),
        }
    }
}

impl Wire {
    fn compose(&self, message: &Message, token: &str) -> Result<lettre::Message> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.title.as_str())
            .message_id(Some(format!("<{token}@{}>", self.from.email.domain())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in &message.to {
            mail = mail.to(to.0.clone());
        }
        mail.body(message.content.clone())
            .map_err(|cause| Error::internal("a mail could not be composed", cause))
    }

    fn failure(&self, to: &Address, cause: &lettre::transport::smtp::Error) -> Unsent {
        let mut perhaps = false;
        let server = &self.server;
        let (advice, retryable) = if cause.is_permanent() {
            (
                "; the server will not take it, so repeating it does not help",
                false,
            )
        } else if cause.is_tls() {
            (
                "; check `tls` in HEADROOM_SMTP_URL and the server's certificate",
                false,
            )
        } else if cause.is_client() {
            ("", false)
        } else if cause.is_transient() || never_connected(cause) {
            ("; it may work later", true)
        } else {
            perhaps = true;
            (
                "; the connection broke off, so it may have been sent nevertheless",
                true,
            )
        };
        Unsent {
            cause: Error::Upstream {
                what: format!(
                    "could not send mail to {to} by {server}: {}{advice}",
                    chain(cause)
                ),
                retryable,
            },
            perhaps,
        }
    }
}

/// Whether there was no connection to say anything over. The library tells this kind of error from a connection that broke off by its text alone.
fn never_connected(cause: &lettre::transport::smtp::Error) -> bool {
    cause.to_string().starts_with("Connection error")
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Keeps holiday answers from being sent to the sender.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// The transport of a URL, and how the server is called in messages.
fn transport(text: &str) -> Result<(Transport, String), String> {
    // The parser's own message is not passed on: it could quote the password.
    let url = Url::parse(text).map_err(|_| "is not a URL such as smtp://user:password@host:587")?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("names no host; write smtp://user:password@host:587")?;
    let (mut mode, mut ca) = (None, None);
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "tls" => mode = Some(value.into_owned()),
            "ca" => ca = Some(value.into_owned()),
            other => {
                return Err(format!(
                    "\"{other}\" is not known after the ?; known are tls, ca"
                ));
            }
        }
    }
    let wrapped = match url.scheme() {
        "smtps" => true,
        "smtp" => false,
        other => {
            return Err(format!(
                "must begin with smtp:// or smtps://, not {other}://"
            ));
        }
    };
    if wrapped && mode.as_deref().is_some_and(|mode| mode != "required") {
        return Err("smtps:// always uses TLS; leave `tls` out".into());
    }
    let parameters = || parameters(host, ca.as_deref());
    let tls = match mode.as_deref().unwrap_or("required") {
        _ if wrapped => Tls::Wrapper(parameters()?),
        "required" => Tls::Required(parameters()?),
        "opportunistic" => Tls::Opportunistic(parameters()?),
        "none" => Tls::None,
        other => {
            return Err(format!(
                "tls=\"{other}\" is not one of required, opportunistic, none"
            ));
        }
    };
    let port = url.port().unwrap_or(if wrapped { 465 } else { 587 });
    let mut builder = Transport::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .timeout(Some(EXCHANGE_LIMIT));
    if !url.username().is_empty() {
        let password = url.password().unwrap_or_default();
        builder = builder.credentials(Credentials::new(decode(url.username())?, decode(password)?));
    }
    Ok((builder.build(), format!("{host}:{port}")))
}

fn parameters(host: &str, ca: Option<&str>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
    if let Some(path) = ca {
        let pem =
            std::fs::read(path).map_err(|cause| format!("ca={path} cannot be read: {cause}"))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|cause| format!("ca={path} holds no certificate: {cause}"))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder
        .build_rustls()
        .map_err(|cause| format!("TLS cannot be set up: {cause}"))
}

/// Takes percent signs out of a user or a password.
fn decode(text: &str) -> Result<String, String> {
    let fault = || "the user or the password holds a % that begins no %XX".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [
            rest.next().ok_or_else(fault)?,
            rest.next().ok_or_else(fault)?,
        ];
        let mut decoded = [0];
        hex::decode_to_slice(digits, &mut decoded).map_err(|_| fault())?;
        bytes.extend(decoded);
    }
    String::from_utf8(bytes).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer(url: &str) -> Result<Mailer> {
        Mailer::new(
            Some(&url.to_owned().into()),
            Some("Headroom <h@example.org>"),
        )
    }

    #[test]
    fn every_form_of_the_url_is_understood() {
        for (url, server) in [
            ("smtp://mail.example.org", "mail.example.org:587"),
            (
                "smtp://u:p%40%3A@mail.example.org:25?tls=none",
                "mail.example.org:25",
            ),
            ("smtp://[::1]:2525?tls=opportunistic", "[::1]:2525"),
            ("smtps://u:p@mail.example.org", "mail.example.org:465"),
        ] {
            let made = mailer(url).unwrap();
            assert_eq!(
                format!("{made:?}"),
                format!("Mailer(Some({server:?}))"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_the_password() {
        for (url, part) in [
            ("geheim", "is not a URL"),
            (
                "http://u:geheim@mail",
                "must begin with smtp:// or smtps://",
            ),
            (
                "smtp://u:geheim@mail?tls=yes",
                "is not one of required, opportunistic, none",
            ),
            ("smtp://u:geheim@mail?tsl=none", "\"tsl\" is not known"),
            ("smtps://u:geheim@mail?tls=none", "always uses TLS"),
            ("smtp://u:geheim%zz@mail", "begins no %XX"),
            ("smtp://u:geheim@mail:99999", "is not a URL"),
            ("smtp://u:geheim@mail?ca=/nowhere.pem", "cannot be read"),
        ] {
            let message = mailer(url).unwrap_err().to_string();
            assert!(message.starts_with("HEADROOM_SMTP_URL: "), "{message}");
            assert!(message.contains(part), "{url}: {message}");
            assert!(!message.contains("geheim"), "{message}");
        }
        let message =
            Mailer::new(Some(&"smtp://mail".to_owned().into()), Some("nobody")).unwrap_err();
        assert!(
            message.to_string().starts_with("HEADROOM_MAIL_FROM: "),
            "{message}"
        );
    }

    #[test]
    fn a_percent_sign_stands_for_a_byte() {
        assert_eq!(decode("a%40b%C3%A9+").as_deref(), Ok("a@bé+"));
        assert!(decode("%4").is_err() && decode("%ff").is_err());
    }

    #[tokio::test]
    async fn without_a_server_the_message_names_the_setting() {
        let message = Message {
            to: vec![parse_address("a@example.org").unwrap()],
            title: String::new(),
            content: String::new(),
        };
        let off = Mailer::new(None, None).unwrap();
        let fault = off
            .send(&message, &message.to[0], "t", Instant::now())
            .await
            .unwrap_err();
        assert!(
            fault.cause.to_string().contains("set HEADROOM_SMTP_URL"),
            "{fault:?}"
        );
    }

    #[test]
    fn an_address_may_carry_a_name() {
        assert_eq!(
            parse_address(" Ops <ops@example.org> ")
                .unwrap()
                .to_string(),
            "Ops <ops@example.org>"
        );
        for text in ["", "ops", "a@b@c", "ops@example.org, x@example.org"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
