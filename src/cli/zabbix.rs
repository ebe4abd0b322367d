//! `headroom zabbix`: the configuration of a Zabbix server as files, and back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::args::Zabbix as What;
use crate::actions::zabbix_backup::{self, DEFAULT_FOLDER, Imported, Written};
use crate::clients::zabbix::Zabbix;
use crate::config::Config;
use crate::error::Result;

/// For each call: the import of a whole site's templates is one.
const CALL_LIMIT: Duration = Duration::from_secs(1800);

pub(super) async fn zabbix(config: &Config, what: What) -> anyhow::Result<ExitCode> {
    let folder = |dir: Option<PathBuf>| dir.unwrap_or_else(|| config.data.join(DEFAULT_FOLDER));
    match what {
        What::Backup { dir } => {
            let dir = folder(dir);
            for (file, count) in backup(config, &dir).await? {
                println!("{}: {count}", dir.join(file).display());
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Import { dir, dry_run } => {
            let done = import(config, &folder(dir), dry_run).await?;
            println!("{done}");
            if done.failed() == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!(
                "headroom: {} objects could not be brought to what the backup says",
                done.failed()
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn backup(config: &Config, folder: &Path) -> Result<Vec<Written>> {
    let zabbix = Zabbix::connect(config.tooling.require_zabbix()?, CALL_LIMIT).await?;
    let written = zabbix_backup::backup(&zabbix, folder).await?;
    zabbix.close().await?;
    Ok(written)
}

async fn import(config: &Config, folder: &Path, dry_run: bool) -> Result<Imported> {
    let zabbix = Zabbix::connect(config.tooling.require_zabbix()?, CALL_LIMIT).await?;
    let done = zabbix_backup::import(&zabbix, folder, dry_run).await?;
    zabbix.close().await?;
    Ok(done)
}
