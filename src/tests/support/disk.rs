//! A disk that is soon full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of a few megabytes; gone when dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Only root may mount one: nothing, and a word about it, for anybody else.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("only root may mount a small disk: not tested");
            return None;
        }
        let folder = TempDir::with_prefix("headroom-disk-").unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(status.unwrap().success(), "mount failed");
        Some(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What takes up the room when something has written to it until no more went in.
    pub fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Makes room again.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount_below(self.path());
    }
}

/// The mount points at and below a folder, the latest last.
pub fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = all.lines().filter_map(|line| line.split(' ').nth(4));
    let below = |point: &PathBuf| point.starts_with(folder);
    points.map(PathBuf::from).filter(below).collect()
}

/// Takes away every mount at and below a folder, even one that something still uses.
pub fn unmount_below(folder: &Path) {
    for point in mounts_below(folder).iter().rev() {
        let mut umount = Command::new("umount");
        // One that is gone already is no fault.
        drop(umount.arg("--lazy").arg(point).output());
    }
}
