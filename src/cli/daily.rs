//! A log file per day, `YYYY_MM_DD.<suffix>`, bounded in size and number.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, Utc};

/// A file that grew past this is set aside under a number.
const MAX_BYTES: u64 = 50 * 1024 * 1024;
/// Files of one kind that are kept.
const KEPT_FILES: usize = 14;

/// Writes to the file of the day.
#[derive(Debug)]
pub(super) struct DailyFile {
    folder: PathBuf,
    suffix: &'static str,
    day: NaiveDate,
    file: File,
    bytes: u64,
}

impl DailyFile {
    /// Opens the file of today.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn open(folder: &Path, suffix: &'static str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let day = Utc::now().date_naive();
        let (file, bytes) = open(folder, suffix, day)?;
        Ok(Self {
            folder: folder.to_owned(),
            suffix,
            day,
            file,
            bytes,
        })
    }

    fn turn(&mut self, today: NaiveDate) -> io::Result<()> {
        let full = self.bytes > MAX_BYTES;
        if !full && today == self.day {
            return Ok(());
        }
        if full {
            set_aside(&path(&self.folder, self.suffix, self.day))?;
        }
        self.day = today;
        (self.file, self.bytes) = open(&self.folder, self.suffix, today)?;
        drop_oldest(&self.folder, self.suffix)
    }
}

impl Write for DailyFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.turn(Utc::now().date_naive())?;
        let written = self.file.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn path(folder: &Path, suffix: &str, day: NaiveDate) -> PathBuf {
    folder.join(format!("{}.{suffix}", day.format("%Y_%m_%d")))
}

fn open(folder: &Path, suffix: &str, day: NaiveDate) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path(folder, suffix, day))?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

fn set_aside(full: &Path) -> io::Result<()> {
    let aside = |number: u32| PathBuf::from(format!("{}.{number}", full.display()));
    let free = (1..).map(aside).find(|path| !path.exists());
    free.map_or(Ok(()), |path| std::fs::rename(full, path))
}

/// Names sort by day, and a numbered file after the day's first: the oldest come first.
fn drop_oldest(folder: &Path, suffix: &str) -> io::Result<()> {
    let marker = format!(".{suffix}");
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.contains(&marker))
        })
        .collect();
    names.sort();
    let surplus = names.len().saturating_sub(KEPT_FILES);
    names
        .iter()
        .take(surplus)
        .try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        for day in 1..=20 {
            let day = NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
            std::fs::write(path(folder.path(), "request.log", day), "x").unwrap();
        }
        std::fs::write(folder.path().join("other.txt"), "kept").unwrap();
        let mut log = DailyFile::open(folder.path(), "request.log").unwrap();
        log.bytes = MAX_BYTES + 1;
        log.write_all(b"a line\n").unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        let today = Utc::now().date_naive().format("%Y_%m_%d");
        assert!(
            names.contains(&format!("{today}.request.log.1")),
            "{names:?}"
        );
        assert!(names.contains(&format!("{today}.request.log")), "{names:?}");
        assert!(
            !names.contains(&"2026_01_01.request.log".to_owned()),
            "{names:?}"
        );
        assert_eq!(names.len(), KEPT_FILES + 1, "{names:?}");
    }
}
