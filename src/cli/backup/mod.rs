//! `headroom backup` and `headroom restore`: one file that holds what the data folder needs to come back.
//!
//! SQLite files are copied by SQLite itself (`VACUUM INTO`), so a running Headroom is backed up consistently. A PostgreSQL
//! database and Redis are backed up with their own tools; the message says so.

mod files;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::Utc;
use diesel::RunQueryDsl as _;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use secrecy::ExposeSecret as _;

use crate::app::App;
use crate::config::Config;
use crate::db::Connection;
use crate::error::{Error, Result};

/// Database of definitions inside the archive.
const DATABASE: &str = "headroom.db";
/// Embedded samples inside the archive.
const SAMPLES: &str = crate::app::SAMPLES_FILE;
/// Master keys inside the archive: without them the secrets in the database are lost.
const MASTER_KEY: &str = "master.key";

pub(super) async fn backup(app: &App, to: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let folder = to.unwrap_or_else(|| app.config.data.join("backups"));
    let app = app.clone();
    let (path, notes) = tokio::task::spawn_blocking(move || write(&app, &folder)).await??;
    println!("{}", path.display());
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok(ExitCode::SUCCESS)
}

fn write(app: &App, folder: &Path) -> Result<(PathBuf, Vec<&'static str>)> {
    let failed = |cause: std::io::Error| {
        Error::internal(
            format!("could not write a backup into {}", folder.display()),
            cause,
        )
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let name = format!("headroom-{}.tar.gz", Utc::now().format("%Y%m%d-%H%M%S"));
    let (path, unfinished) = (folder.join(&name), folder.join(format!(".{name}.part")));
    let staging = folder.join(format!(".{name}.d"));
    DirBuilder::new()
        .mode(0o700)
        .create(&staging)
        .map_err(failed)?;
    let outcome = collect(app, &staging).and_then(|notes| {
        let folders = files::folders(&app.config, &mut *app.db.connection()?)?;
        let own = files::list(&app.config.data, &folders)?;
        pack(&staging, &app.config.data, &own, &unfinished).map_err(failed)?;
        Ok(notes)
    });
    std::fs::remove_dir_all(&staging).map_err(failed)?;
    let notes = outcome?;
    std::fs::rename(&unfinished, &path).map_err(failed)?;
    Ok((path, notes))
}

fn collect(app: &App, staging: &Path) -> Result<Vec<&'static str>> {
    let mut notes =
        vec!["the backup holds the master key: keep it as safe as the secrets themselves"];
    let conn = &mut *app.db.connection()?;
    if matches!(conn, Connection::Sqlite(_)) {
        copy_sqlite(conn, &staging.join(DATABASE))?;
    } else {
        notes.push("the definitions are in PostgreSQL: back them up with pg_dump");
    }
    let samples = app.config.data.join(SAMPLES);
    if samples.exists() {
        let samples = crate::db::Db::connect_only(&format!("sqlite://{}", samples.display()))?;
        copy_sqlite(&mut *samples.connection()?, &staging.join(SAMPLES))?;
    }
    if app.config.keeping.redis_url.is_some() {
        notes.push("the samples are in Redis: back them up with its own snapshots, or let them go");
    }
    std::fs::copy(&app.config.auth.master_key_file, staging.join(MASTER_KEY))
        .map_err(|cause| Error::internal("could not copy the master key", cause))?;
    Ok(notes)
}

fn copy_sqlite(conn: &mut Connection, to: &Path) -> Result<()> {
    diesel::sql_query("VACUUM INTO ?")
        .bind::<diesel::sql_types::Text, _>(to.display().to_string())
        .execute(conn)?;
    Ok(())
}

fn pack(staging: &Path, data: &Path, own: &BTreeSet<PathBuf>, to: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for name in [DATABASE, SAMPLES, MASTER_KEY] {
        let source = staging.join(name);
        if source.exists() {
            archive.append_path_with_name(source, name)?;
        }
    }
    for file in own {
        files::append(&mut archive, data, file)?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

pub(super) fn restore(config: &Config, file: &Path, force: bool) -> anyhow::Result<ExitCode> {
    let data = &config.data;
    if !config.database.url.expose_secret().starts_with("sqlite://") {
        return Err(Error::invalid("DATABASE_URL", "the definitions are in PostgreSQL: restore them with pg_restore, and the master key by hand").into());
    }
    let held: Vec<_> = [DATABASE, SAMPLES, MASTER_KEY]
        .into_iter()
        .filter(|name| place(config, name).exists())
        .map(str::to_owned)
        .collect();
    let refuse = |held: &[String]| {
        let message = format!(
            "holds {} already; stop Headroom and say --force to replace them",
            held.join(", ")
        );
        Error::invalid(data.display().to_string(), message)
    };
    if !held.is_empty() && !force {
        return Err(refuse(&held).into());
    }
    let broken = |cause: std::io::Error| {
        let message = format!("cannot be restored: {cause}");
        Error::invalid(file.display().to_string(), message)
    };
    let (names, own) = match unpack(file, config) {
        Ok(unpacked) => unpacked,
        Err(cause) => {
            clear(config);
            return Err(broken(cause).into());
        }
    };
    let held = own.held();
    if !held.is_empty() && !force {
        clear(config);
        return Err(refuse(&held).into());
    }
    let count = own.count();
    own.put().map_err(broken)?;
    put(config, &names).map_err(broken)?;
    let mut told: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    if count > 0 {
        told.push(format!("{count} files of the operator's"));
    }
    println!("restored {} into {}", told.join(", "), data.display());
    Ok(ExitCode::SUCCESS)
}

/// Where a member of the archive belongs.
fn place(config: &Config, name: &str) -> PathBuf {
    if name == MASTER_KEY {
        config.auth.master_key_file.clone()
    } else {
        config.data.join(name)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// Everything is unpacked beside its place first, so that a broken archive changes nothing.
fn unpack(file: &Path, config: &Config) -> std::io::Result<(Vec<&'static str>, files::Staged)> {
    std::fs::create_dir_all(&config.data)?;
    let mut own = files::Staged::new(&config.data);
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(file)?));
    let mut names = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if let Some(file) = files::Staged::place(&path) {
            own.unpack(file, entry)?;
            continue;
        }
        let known = [DATABASE, SAMPLES, MASTER_KEY]
            .into_iter()
            .find(|name| path == Path::new(name));
        let name = known.ok_or_else(|| {
            std::io::Error::other(format!("{} does not belong in a backup", path.display()))
        })?;
        let unpacked = beside(&place(config, name), ".restored");
        let mut target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(unpacked)?;
        std::io::copy(&mut entry, &mut target)?;
        target.sync_all()?;
        names.push(name);
    }
    if names.is_empty() {
        return Err(std::io::Error::other("the archive is empty"));
    }
    Ok((names, own))
}

/// Takes away what was unpacked beside its place.
fn clear(config: &Config) {
    for name in [DATABASE, SAMPLES, MASTER_KEY] {
        let unpacked = beside(&place(config, name), ".restored");
        if unpacked.exists()
            && let Err(cause) = std::fs::remove_file(&unpacked)
        {
            tracing::warn!(%cause, path = %unpacked.display(), "what was unpacked could not be removed");
        }
    }
}

fn put(config: &Config, names: &[&'static str]) -> std::io::Result<()> {
    for name in names {
        let place = place(config, name);
        // A write-ahead log of the replaced database would be played into the restored one.
        for left_over in [beside(&place, "-wal"), beside(&place, "-shm")] {
            if left_over.exists() {
                std::fs::remove_file(left_over)?;
            }
        }
        std::fs::rename(beside(&place, ".restored"), place)?;
    }
    Ok(())
}
