//! `headroom doctor`: checks everything Headroom depends on, and says what is missing and how to get it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use url::Url;

use crate::app::QUEUE_FILE;
use crate::clients::command::Command;
use crate::clients::zabbix::Zabbix;
use crate::clients::{ExecOutput, descriptors};
use crate::collectors::Descriptors;
use crate::config::Config;
use crate::db::Db;
use crate::error::Result;
use crate::jobs::queue::Queue;
use crate::models::ssh_profile::SshProfile;
use crate::samples::Store;

/// A peer that takes longer to answer is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a check found: a sentence; on failure also the remedy.
type Finding = std::result::Result<String, String>;

pub(super) async fn doctor(config: Config) -> anyhow::Result<ExitCode> {
    let mut findings = vec![
        ("data folder", data_folder(&config.data)),
        ("master key", master_key(&config.auth.master_key_file)),
    ];
    let db = database(&config).await;
    findings.push((
        "database",
        db.as_ref()
            .map(|_| "answers".to_owned())
            .map_err(ToString::to_string),
    ));
    findings.push(("samples and queue", keeping(&config).await));
    findings.push(("mail", mail(&config).await));
    findings.push(("fabric", fabric(&config).await));
    findings.push(("docker", docker().await));
    findings.push(("zabbix", zabbix(&config).await));
    if let Ok(db) = db {
        findings.push(("private keys", private_keys(&db).await));
        findings.push(("file descriptors", file_descriptors(&db).await));
    }
    let mut broken = 0_u32;
    for (what, finding) in findings {
        match finding {
            Ok(text) => println!("ok       {what}: {text}"),
            Err(text) => {
                broken += 1;
                println!("MISSING  {what}: {text}");
            }
        }
    }
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn data_folder(path: &Path) -> Finding {
    let place = path.display();
    std::fs::create_dir_all(path).map_err(|cause| {
        format!("{place} cannot be made: {cause}; set HEADROOM_DATA to a folder Headroom may write")
    })?;
    let probe = path.join(".doctor");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|cause| {
            format!("{place} cannot be written: {cause}; give it to the user Headroom runs as")
        })?;
    Ok(format!("{place} can be written"))
}

fn master_key(path: &Path) -> Finding {
    let place = path.display();
    if !path.exists() {
        return Ok(format!("{place} will be made at the first start"));
    }
    let mode = std::fs::metadata(path)
        .map_err(|cause| format!("{place} cannot be read: {cause}"))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(format!("{place} can be read by others: chmod 600 {place}"));
    }
    Ok(format!("{place} is there, for its owner only"))
}

async fn database(config: &Config) -> Result<Db> {
    let url = config.database.url.clone();
    let opened = tokio::task::spawn_blocking(move || Db::open(url.expose_secret())).await;
    opened.map_err(|cause| crate::error::Error::internal("could not check the database", cause))?
}

async fn keeping(config: &Config) -> Finding {
    let remedy = |cause: crate::error::Error| {
        format!("{cause}; check REDIS_URL, or unset it to keep both in the data folder")
    };
    if let Some(url) = &config.keeping.redis_url {
        let store = Store::redis(
            url.expose_secret(),
            &config.keeping.redis_prefix,
            config.sampling.retention,
        )
        .map_err(remedy)?;
        store.ping().await.map_err(remedy)?;
        Queue::redis(url.expose_secret(), &config.keeping.redis_prefix, "runs")
            .await
            .map_err(remedy)?;
        return Ok("Redis answers".into());
    }
    Queue::sqlite(&config.data.join(QUEUE_FILE), "runs")
        .await
        .map_err(|cause| cause.to_string())?;
    Ok("in the data folder".into())
}

async fn mail(config: &Config) -> Finding {
    let Some(url) = &config.mail.smtp_url else {
        return Ok("not set up; Email actions are refused until HEADROOM_SMTP_URL and HEADROOM_MAIL_FROM are set".into());
    };
    let url = Url::parse(url.expose_secret())
        .map_err(|cause| format!("HEADROOM_SMTP_URL is not a URL: {cause}"))?;
    let host = url
        .host_str()
        .ok_or("HEADROOM_SMTP_URL names no host")?
        .to_owned();
    let port = url
        .port()
        .unwrap_or(if url.scheme() == "smtps" { 465 } else { 587 });
    let connect = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok(_)) => Ok(format!("{host}:{port} accepts connections")),
        Ok(Err(cause)) => Err(format!("{host}:{port} refuses: {cause}")),
        Err(_) => Err(format!("{host}:{port} did not answer within 5 s")),
    }
}

/// What a program says of its version, if it is there.
async fn version(program: &Path) -> Option<String> {
    let asked = Command::new(program, &["--version"]).time_limit(PATIENCE);
    let said = asked.run().await.ok().filter(ExecOutput::success)?;
    Some(said.stdout_text().lines().next()?.to_owned())
}

async fn fabric(config: &Config) -> Finding {
    let fab = &config.tooling.fab;
    Ok(version(fab).await.unwrap_or_else(|| {
        format!(
            "{} is not there; DistributedScript actions fail until Fabric is installed (`pipx install fabric`) or HEADROOM_FAB says where it is",
            fab.display()
        )
    }))
}

async fn docker() -> Finding {
    let missing = "not installed; DockerScale actions fail until it is";
    Ok(version(Path::new("docker"))
        .await
        .unwrap_or_else(|| missing.to_owned()))
}

async fn zabbix(config: &Config) -> Finding {
    let Some(access) = &config.tooling.zabbix else {
        return Ok(
            "not set up; ZabbixBackup actions fail until HEADROOM_ZABBIX_URL and a login are set"
                .into(),
        );
    };
    let work = async {
        let zabbix = Zabbix::connect(access, PATIENCE).await?;
        let version = zabbix.version();
        zabbix.close().await?;
        Ok::<_, crate::error::Error>(format!(
            "{} is of version {version} and lets us in",
            access.url
        ))
    };
    work.await.map_err(|cause| cause.to_string())
}

async fn private_keys(db: &Db) -> Finding {
    let profiles = db
        .read(SshProfile::all)
        .await
        .map_err(|cause| cause.to_string())?;
    let unreadable = |profile: &SshProfile| {
        let path = profile.private_key_file.as_ref()?;
        let cause = std::fs::read(path).err()?;
        Some(format!(
            "{path} of ssh profile \"{}\": {cause}",
            profile.name
        ))
    };
    let faults: Vec<String> = profiles.iter().filter_map(unreadable).collect();
    if faults.is_empty() {
        Ok(format!("{} ssh profiles checked", profiles.len()))
    } else {
        Err(faults.join("; "))
    }
}

async fn file_descriptors(db: &Db) -> Finding {
    let fleet = db.read(Descriptors::of_fleet).await;
    let fleet = fleet.map_err(|cause| cause.to_string())?;
    // As `serve` does.
    let limit = descriptors::raise().ok_or("the limit of open files cannot be read")?;
    match fleet.shortage(limit) {
        Some(shortage) => Err(shortage),
        None => Ok(format!(
            "{limit} allowed, {} needed for {} nodes",
            fleet.needed, fleet.nodes
        )),
    }
}
