//! The operator's own files that actions use, by name: a folder of the data folder first, then what Headroom brings along.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// A file that Headroom brings along: its name and its text.
pub(super) type Shipped = (&'static str, &'static str);

/// Where a file was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the operator's folder.
    Own(PathBuf),
    /// Brought along.
    Shipped(&'static str),
}

/// Refuses what is no name of a file with this ending inside a folder.
pub(super) fn check_name(name: &str, ending: &str) -> Result<(), String> {
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if inside && name.ends_with(ending) && name.len() > ending.len() && !name.contains('\0') {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" must be the name of a {ending} file inside the folder"
    ))
}

/// Finds a file.
///
/// # Errors
/// There is none; the message says where it is looked for and what there is.
pub(super) fn find(folder: &Path, shipped: &[Shipped], name: &str) -> Result<Place> {
    let own = folder.join(name);
    match fs::canonicalize(&own) {
        Ok(path) if path.is_file() => return Ok(Place::Own(path)),
        Ok(_) => return Err(Error::Conflict(format!("{} is no file", own.display()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
        Err(cause) => {
            return Err(Error::Conflict(format!(
                "{} cannot be read: {cause}",
                own.display()
            )));
        }
    }
    if let Some((_, text)) = shipped.iter().find(|(known, _)| *known == name) {
        return Ok(Place::Shipped(text));
    }
    let known: Vec<_> = shipped.iter().map(|(known, _)| *known).collect();
    Err(Error::Conflict(format!(
        "there is no file {}; put it there, or use one that comes with Headroom: {}",
        own.display(),
        known.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_its_folder() {
        for good in ["a.py", "web/deploy.py", "a b.py"] {
            assert_eq!(check_name(good, ".py"), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".py",
            "a.pp",
            "/etc/a.py",
            "../a.py",
            "a/../../b.py",
            "a\0.py",
        ] {
            assert!(check_name(bad, ".py").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_operators_file_comes_before_the_one_brought_along() {
        let folder = tempfile::tempdir().unwrap();
        let shipped = [("a.py", "text")];
        assert_eq!(
            find(folder.path(), &shipped, "a.py").unwrap(),
            Place::Shipped("text")
        );
        fs::write(folder.path().join("a.py"), "own").unwrap();
        let own = find(folder.path(), &shipped, "a.py").unwrap();
        assert!(matches!(own, Place::Own(path) if path.ends_with("a.py")));
        let missing = find(folder.path(), &shipped, "b.py")
            .unwrap_err()
            .to_string();
        assert!(
            missing.ends_with("or use one that comes with Headroom: a.py"),
            "{missing}"
        );
    }
}
