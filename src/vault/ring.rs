//! The key ring: a file that only its owner reads, one key a line, the newest last.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aes_gcm::aead::Generate as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

const HEADER: &str = "# Headroom's master keys, one a line, the newest last. Keep a copy away from this machine:\n\
                      # without the key that encrypted it, a secret cannot be read again.\n";
/// Far more than a lifetime of rotations needs; a longer file is something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// One AES-256 key.
pub(super) struct Key {
    /// Stands beside each secret that the key encrypts.
    pub id: String,
    pub bytes: SecretBox<[u8; 32]>,
}

impl Key {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"headroom master key id");
        hash.update(bytes.as_slice());
        let fingerprint = hash.finalize();
        Self {
            id: hex::encode(fingerprint.get(..8).unwrap_or_default()),
            bytes: SecretBox::init_with_mut(|target: &mut [u8; 32]| {
                target.copy_from_slice(&*bytes)
            }),
        }
    }

    fn generate() -> Result<Self> {
        let bytes = <[u8; 32]>::try_generate()
            .map_err(|cause| Error::internal("the system gave no random numbers", cause))?;
        Ok(Self::new(Zeroizing::new(bytes)))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        // Longer than a key needs: the decoder wants room for whole groups of four characters.
        let mut room = Zeroizing::new([0_u8; 48]);
        let length = STANDARD.decode_slice(line, room.as_mut_slice()).ok()?;
        bytes.copy_from_slice(room.get(..length)?.get(..32)?);
        (length == 32).then(|| Self::new(bytes))
    }

    fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(STANDARD.encode(self.bytes.expose_secret()));
        line.push('\n');
        line
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys of one file, oldest first; never empty.
#[derive(Debug)]
pub(super) struct Ring {
    keys: Vec<Key>,
}

impl Ring {
    /// Reads the file; makes it, with a first key, where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        if !path
            .try_exists()
            .map_err(|cause| fault(path, "be looked for", &cause))?
        {
            let first = Zeroizing::new(format!("{HEADER}{}", Key::generate()?.line().as_str()));
            // Another process may make it at the same moment: whoever links first wins, both read the winner's.
            match publish(path, &first, |temporary| fs::hard_link(temporary, path)) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(|cause| fault(path, "be made", &cause))?,
            }
        }
        Self::read(path)
    }

    /// Adds a new key at the end of the file.
    pub fn extend(path: &Path) -> Result<Self> {
        Self::read(path)?;
        let mut text = read_private(path)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&Key::generate()?.line());
        publish(path, &text, |temporary| fs::rename(temporary, path))
            .map_err(|cause| fault(path, "be extended", &cause))?;
        Self::read(path)
    }

    /// Reads the file, which must be there.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_private(path)?;
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(Key::parse(line).ok_or_else(|| {
                let what = "is not a key (44 characters of base64)";
                Error::invalid(path.display().to_string(), format!("line {number} {what}"))
            })?);
        }
        if keys.is_empty() {
            let what =
                "holds no key; restore it from a copy, or remove it if no secret was stored yet";
            return Err(Error::invalid(path.display().to_string(), what));
        }
        Ok(Self { keys })
    }

    pub fn newest(&self) -> Option<&Key> {
        self.keys.last()
    }

    pub fn by_id(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>> {
    let file = File::open(path).map_err(|cause| fault(path, "be read", &cause))?;
    let meta = file
        .metadata()
        .map_err(|cause| fault(path, "be read", &cause))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Forbidden(format!(
            "the master key file {0} is open to others (mode {mode:04o}); run: chmod 600 {0}",
            path.display()
        )));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(Error::invalid(
            path.display().to_string(),
            "is too large for a key file",
        ));
    }
    let room = usize::try_from(meta.len()).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|cause| fault(path, "be read", &cause))?;
    Ok(text)
}

/// Writes a file of its own, on disk and private, before `take_place` gives it the name: no reader ever sees half a ring.
fn publish(
    path: &Path,
    text: &str,
    take_place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let outcome = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| take_place(&temporary))
        .and_then(|()| File::open(folder)?.sync_all());
    match fs::remove_file(&temporary) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => outcome.and(Err(cause)),
        _ => outcome,
    }
}

fn fault(path: &Path, what: &str, cause: &io::Error) -> Error {
    let path = path.display();
    Error::internal(
        format!("the master key file {path} could not {what}"),
        cause,
    )
}
