//! `headroom scale`: what a remote command of Zabbix calls. Works without a data folder; where there is one, its holds count.

use std::path::Path;
use std::process::ExitCode;

use chrono::Utc;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::args::{Direction, Scale};
use super::{REFUSED, output};
use crate::actions::docker_scale::{self, Bounds, Change};
use crate::clients::docker::{Certificates, Docker};
use crate::clients::private;
use crate::clients::zabbix;
use crate::config::{Config, parse_duration};
use crate::db::{Connection, Db};
use crate::error::{Error, Fault, Result};
use crate::models::hold::{Hold, NEVER_MS};
use crate::models::{HoldScope, service_claim, to_ms};

/// What to do, once the words on the command line are understood.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    by: i64,
    /// How many there are in the eyes of the caller.
    current: Option<u32>,
}

pub(super) async fn scale(config: &Config, args: Scale) -> anyhow::Result<ExitCode> {
    let wanted = understand(&args)?;
    // What is dropped on a signal takes its private files along.
    tokio::select! {
        done = run(config, &args, &wanted) => Ok(done?),
        number = stopped() => {
            eprintln!("headroom: stopped by a signal; {} may have been scaled or not", args.service);
            Ok(ExitCode::from(128_u8.saturating_add(number?)))
        }
    }
}

async fn run(config: &Config, args: &Scale, wanted: &Wanted) -> Result<ExitCode> {
    let limit =
        parse_duration(&args.timeout).map_err(|message| Error::invalid("--timeout", message))?;
    let deadline = Instant::now() + limit;
    let driver = args.driver.as_str();
    let service = docker_scale::service(
        driver,
        args.project.clone(),
        &args.file,
        args.service.clone(),
        args.host.clone(),
    );
    let (name, identity) = (service.name.clone(), service.to_string());
    let acts = args.direction != Direction::Ps;
    let holds = if acts { holds(config).await? } else { None };
    if let Some(why) = held(holds.as_ref(), &identity).await? {
        return Ok(refuse(&name, &why));
    }
    let certificates = certificates(config, args).await?;
    // Zabbix's agent runs as a user without a data folder.
    let private = std::env::temp_dir();
    if let Err(cause) = private::sweep(&private) {
        eprintln!(
            "headroom: what a killed `headroom scale` had left could not be removed: {cause}"
        );
    }
    let docker = Docker::open(
        service,
        certificates.as_ref(),
        config.tooling.docker_compose.as_deref(),
        &private,
        deadline,
    )
    .await?;
    if !acts {
        return list(&docker).await;
    }
    let now = docker.replicas().await?.count;
    let to = aim(args, wanted, now);
    // The engine may have taken its time to answer.
    if let Some(why) = held(holds.as_ref(), &identity).await? {
        return Ok(refuse(&name, &why));
    }
    let scaled = docker_scale::scale(&docker, &name, now, to, deadline).await;
    match scaled.fault {
        None => {
            println!("{}", scaled.entry.stdout.lines().last().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Some(fault) => {
            eprint!("{}{}", scaled.entry.stdout, scaled.entry.stderr);
            Err(fault)
        }
    }
}

/// How many there are to be, of as many as there are now.
fn aim(args: &Scale, wanted: &Wanted, now: u32) -> u32 {
    let bounds = Bounds {
        min: args.min,
        max: args.max,
    };
    let aim = bounds.aim(wanted.current.unwrap_or(now), Change::By(wanted.by));
    // What the caller believes may be old: never against the direction.
    if wanted.by > 0 {
        aim.max(now)
    } else {
        aim.min(now)
    }
}

async fn list(docker: &Docker) -> Result<ExitCode> {
    let said = docker.list().await?;
    print!("{}", said.stdout_text());
    eprint!("{}", said.stderr_text());
    let status = match said.status {
        crate::clients::Exit::Status(status) => u8::try_from(status).unwrap_or(1),
        _ => 1,
    };
    Ok(ExitCode::from(status))
}

/// The database that says what is held; none where no Headroom keeps its data on this host.
async fn holds(config: &Config) -> Result<Option<Db>> {
    let url = config.database.url.expose_secret().to_owned();
    let open = move || {
        if let Some(path) = url.strip_prefix("sqlite://")
            && !Path::new(path)
                .try_exists()
                .map_err(|cause| unknown(&cause))?
        {
            return Ok(None);
        }
        // Brought up to date by nobody but Headroom itself.
        Db::connect_only(&url)
            .map(Some)
            .map_err(|cause| unknown(&cause))
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|cause| unknown(&cause))?
}

/// Why nothing is scaled now, if so: who said so, until when, and how to lift it.
async fn held(holds: Option<&Db>, service: &str) -> Result<Option<String>> {
    let Some(db) = holds else { return Ok(None) };
    let (now_ms, service) = (to_ms(Utc::now()), service.to_owned());
    let read = move |conn: &mut Connection| {
        let hold = Hold::on_commands(conn, now_ms)?;
        Ok((hold, service_claim::under_way(conn, &service)?))
    };
    let (hold, run) = db.read(read).await.map_err(|cause| unknown(&cause))?;
    let scaling = || {
        run.map(|run| {
            format!("run {run} is scaling it at the moment; its page says how far it is, try again when it has ended")
        })
    };
    Ok(hold.as_ref().map(tell).or_else(scaling))
}

fn tell(hold: &Hold) -> String {
    let (what, lift) = match hold.scope {
        HoldScope::Stop => ("all acting is stopped", "headroom stop --lift".to_owned()),
        _ => (
            "everything is held",
            format!("headroom hold lift {}", hold.id),
        ),
    };
    let until = match hold.expires_ms {
        NEVER_MS => "a person lifts it".to_owned(),
        at_ms => output::time(at_ms),
    };
    format!(
        "{what} by {}: {} (since {}, until {until}); to lift it: `{lift}`, or the page Holds",
        hold.author,
        hold.reason,
        output::time(hold.created_ms)
    )
}

fn refuse(service: &str, why: &str) -> ExitCode {
    eprintln!("headroom: refused, {service} was not scaled: {why}");
    ExitCode::from(REFUSED)
}

/// A hold that cannot be asked for may be in force.
fn unknown(cause: &dyn std::fmt::Display) -> Error {
    Error::Conflict(format!(
        "not scaled: whether all acting is stopped, or a run scales it, is not known, since Headroom's database could not be read: {cause}; call it as a user who may read \
         the data folder, or see to DATABASE_URL"
    ))
}

async fn certificates(config: &Config, args: &Scale) -> Result<Option<Certificates>> {
    if args.zabbix_certificates {
        let component = args.component.as_ref().unwrap_or(&args.service);
        return zabbix::certificates(config.tooling.require_zabbix()?, component)
            .await
            .map(Some);
    }
    let Some(folder) = &args.tls_dir else {
        return Ok(None);
    };
    let read = |name: &str| {
        let path = Path::new(folder).join(name);
        std::fs::read_to_string(&path)
            .map_err(|cause| Error::Conflict(format!("{} cannot be read: {cause}", path.display())))
    };
    Ok(Some(Certificates {
        ca: read("ca.pem")?,
        cert: read("cert.pem")?,
        key: read("key.pem")?.into(),
    }))
}

/// Reads the numbers. A macro that expanded to nothing shifts the words after it, so two numbers are wanted or none.
fn understand(args: &Scale) -> Result<Wanted> {
    let mut faults = Vec::new();
    let mut number = |place: &str, text: Option<&String>| {
        let text = text?;
        let value = text.trim().parse::<u32>().ok();
        if value.is_none() {
            let what = if text.trim().is_empty() {
                "is empty: did a macro of Zabbix expand to nothing?".to_owned()
            } else {
                format!("\"{text}\" is no whole number: did a macro of Zabbix not expand?")
            };
            faults.push(Fault::new(place, what));
        }
        value
    };
    let current = number("CURRENT", args.current.as_ref());
    let delta = number("DELTA", args.delta.as_ref());
    if args.current.is_some() && args.delta.is_none() {
        faults.push(Fault::new("DELTA", "is missing: give CURRENT and DELTA, or none of them; did a macro of Zabbix expand to nothing?"));
    }
    if delta == Some(0) {
        faults.push(Fault::new("DELTA", "must not be 0"));
    }
    if let Err(message) = docker_scale::check_name(&args.service) {
        faults.push(Fault::new("SERVICE", message));
    }
    if args.direction == Direction::Down
        && current
            .zip(delta)
            .is_some_and(|(current, delta)| delta > current)
    {
        faults.push(Fault::new(
            "DELTA",
            "is more than CURRENT: fewer than none is not possible",
        ));
    }
    if args.driver.as_str() == "compose" && args.project.is_none() {
        faults.push(Fault::new("--project", "is required for Compose"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let by = i64::from(delta.unwrap_or(1));
    Ok(Wanted {
        by: if args.direction == Direction::Down {
            -by
        } else {
            by
        },
        current,
    })
}

/// Waits for a signal that asks to end; gives its number.
async fn stopped() -> Result<u8> {
    let listen =
        |kind| signal(kind).map_err(|cause| Error::internal("could not listen to signals", cause));
    let mut hangup = listen(SignalKind::hangup())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = hangup.recv() => 1,
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser as _;

    fn read(words: &[&str]) -> Result<Wanted, String> {
        let all = ["headroom", "scale"]
            .iter()
            .chain(words)
            .chain(&["--project", "shop"]);
        match Args::try_parse_from(all).unwrap().command {
            Command::Scale(args) => understand(&args).map_err(|fault| fault.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn current_and_delta_make_a_change() {
        assert_eq!(
            read(&["up", "consul", "3", "1"]),
            Ok(Wanted {
                by: 1,
                current: Some(3)
            })
        );
        assert_eq!(
            read(&["down", "consul", "6", "2"]),
            Ok(Wanted {
                by: -2,
                current: Some(6)
            })
        );
        assert_eq!(
            read(&["up", "consul"]),
            Ok(Wanted {
                by: 1,
                current: None
            })
        );
    }

    #[test]
    fn a_macro_that_expanded_to_nothing_never_scales() {
        for (words, said) in [
            (&["up", "consul", "1"][..], "DELTA: is missing"),
            (&["up", "consul", "", "1"], "CURRENT: is empty: did a macro"),
            (
                &["up", "consul", "*UNKNOWN*", "1"],
                "CURRENT: \"*UNKNOWN*\" is no whole number",
            ),
            (&["up", "consul", "3", "0"], "DELTA: must not be 0"),
            (&["down", "consul", "1", "2"], "DELTA: is more than CURRENT"),
            (
                &["up", "*UNKNOWN*", "3", "1"],
                "SERVICE: \"*UNKNOWN*\" must be letters",
            ),
            (&["up", "", "3", "1"], "SERVICE: \"\" must be letters"),
        ] {
            let fault = read(words).unwrap_err();
            assert!(fault.contains(said), "{words:?}: {fault}");
        }
    }
}
