//! `headroom user`, `headroom token` and `headroom vault`: who may log in, with what key scripts come, and the key to all secrets.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use chrono::Utc;
use secrecy::{ExposeSecret as _, SecretString};

use super::args::{Token, User, Vault};
use crate::app::App;
use crate::config::parse_duration;
use crate::error::{Error, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::token::{ApiToken, NewApiToken};
use crate::models::user::{NewUser, User as Row};
use crate::models::{Via, to_ms};
use crate::web::auth::{password, token};

/// Who is at the command line, for the audit.
pub(super) fn actor() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    user.ok()
        .flatten()
        .map_or_else(|| "unknown".into(), |user| user.name)
}

pub(super) async fn user(app: &App, what: User) -> anyhow::Result<ExitCode> {
    let now_ms = to_ms(Utc::now());
    match what {
        User::Add { name, role } => {
            let password_hash = password::hash(&new_password()?)?;
            let new = NewUser {
                name,
                password_hash,
                role,
                created_ms: now_ms,
                updated_ms: now_ms,
            };
            let name = new.name.clone();
            app.db
                .write(move |conn| {
                    if Row::all(conn)?.iter().any(|user| user.name == new.name) {
                        return Err(Error::Conflict(format!("there is a user \"{}\" already; `headroom user passwd` sets a password", new.name)));
                    }
                    Row::insert(conn, &new)?;
                    note(conn, "add", format!("user {}", new.name), Some(format!("{{\"role\":\"{role}\"}}")), now_ms)
                })
                .await?;
            println!("added {name} as {role}");
        }
        User::Passwd { name } => {
            let row = app.db.read({
                let name = name.clone();
                move |conn| Row::by_name(conn, &name)
            });
            let row = row.await?;
            let password_hash = password::hash(&new_password()?)?;
            app.db
                .write(move |conn| {
                    let new = NewUser {
                        name: row.name.clone(),
                        password_hash,
                        role: row.role,
                        created_ms: row.created_ms,
                        updated_ms: now_ms,
                    };
                    Row::update(conn, row.id, &new)?;
                    note(
                        conn,
                        "change password",
                        format!("user {}", row.name),
                        None,
                        now_ms,
                    )
                })
                .await?;
            println!("the password of {name} is changed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn token(app: &App, what: Token) -> anyhow::Result<ExitCode> {
    let Token::Create {
        role,
        name,
        expires,
    } = what;
    let now_ms = to_ms(Utc::now());
    let expires_ms = expires.map(|text| expiry(&text, now_ms)).transpose()?;
    let (secret, token_hash) = token::new_api_token();
    let name = name.unwrap_or_else(|| format!("{role}-{}", Utc::now().format("%Y%m%d-%H%M%S")));
    let new = NewApiToken {
        name,
        token_hash,
        role,
        created_by: actor(),
        created_ms: now_ms,
        expires_ms,
        last_used_ms: None,
    };
    app.db
        .write(move |conn| {
            ApiToken::insert(conn, &new)?;
            note(
                conn,
                "create",
                format!("token {}", new.name),
                Some(format!("{{\"role\":\"{role}\"}}")),
                now_ms,
            )
        })
        .await?;
    // The one time that it is shown: only its hash is kept.
    println!("{}", secret.expose_secret());
    Ok(ExitCode::SUCCESS)
}

/// The new key is in the file before anything is encrypted with it: a crash in between leaves an unused key, never an unreadable secret.
pub(super) async fn vault(app: &App, what: &Vault) -> anyhow::Result<ExitCode> {
    let Vault::Rotate = what;
    app.vault.add_key()?;
    let vault = app.vault.clone();
    let now_ms = to_ms(Utc::now());
    let moved = app
        .db
        .write(move |conn| {
            let moved = vault.rotate(conn, now_ms)?;
            let after = serde_json::json!({ "secrets": moved }).to_string();
            note(conn, "rotate", "master key".into(), Some(after), now_ms)?;
            Ok(moved)
        })
        .await?;
    println!(
        "{moved} secrets are encrypted with a new key, the last line of {}. Copy the file to every process and to where its copy is kept; \
         backups made until now still need the older lines.",
        app.vault.path().display()
    );
    Ok(ExitCode::SUCCESS)
}

fn expiry(text: &str, now_ms: i64) -> Result<i64> {
    let length = parse_duration(text).map_err(|message| Error::invalid("--expires", message))?;
    Ok(now_ms.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
}

fn note(
    conn: &mut crate::db::Connection,
    verb: &str,
    object: String,
    after: Option<String>,
    at_ms: i64,
) -> Result<()> {
    let event = NewAuditEvent {
        at_ms,
        actor: actor(),
        via: Via::Cli,
        verb: verb.into(),
        object,
        before: None,
        after,
    };
    AuditEvent::record(conn, &event)
}

/// Asked for twice at a terminal without echo; one line of standard input otherwise.
fn new_password() -> Result<SecretString> {
    let unreadable =
        |cause: std::io::Error| Error::invalid("password", format!("cannot be read: {cause}"));
    let password = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password: ").map_err(unreadable)?;
        let second = rpassword::prompt_password("Again: ").map_err(unreadable)?;
        if first != second {
            return Err(Error::invalid("password", "the two do not match"));
        }
        first
    } else {
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(unreadable)?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    let password = SecretString::from(password);
    password::check(&password)?;
    Ok(password)
}
