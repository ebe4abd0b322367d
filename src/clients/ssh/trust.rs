//! Whose host key is trusted. Raw key blobs are compared, never names or fingerprints.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use crate::clients::ssh::known_hosts::KnownHosts;
use crate::error::Result;

/// Signature algorithms offered to a host, best first. No certificates: libssh2 does not verify their signature. No SHA-1.
const ALGORITHMS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    blob: Vec<u8>,
}

impl HostKey {
    /// A key from its wire form.
    pub fn new(blob: impl Into<Vec<u8>>) -> Self {
        Self { blob: blob.into() }
    }

    /// A key from its base64 form, as in known_hosts; none if that is no base64.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self::new)
    }

    /// The wire form in base64, as in known_hosts.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.blob)
    }

    /// The wire form.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its type as it names itself: `ssh-ed25519`.
    pub fn key_type(&self) -> &str {
        let name = || {
            let (length, rest) = self.blob.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            std::str::from_utf8(rest.get(..length)?).ok()
        };
        name().unwrap_or("unknown")
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::digest(&self.blob);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(hash))
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type(), self.fingerprint())
    }
}

/// How a host's key is trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Only these keys.
    Pinned(Arc<KnownHosts>),
    /// The first key is remembered; a changed one is refused until a person accepts it.
    FirstUse,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name or address.
    pub address: String,
    /// TCP port of sshd.
    pub port: u16,
    /// The jump host that it is reached through, `host:port`; empty = none. Behind another one the same address is another machine.
    pub through: String,
}

/// Where the keys of first use are remembered.
pub trait HostKeys: Send + Sync + 'static {
    /// The key accepted for a host, if any.
    fn accepted<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Option<HostKey>>>;

    /// Remembers the first key of a host, unless another process was faster; returns the one that is accepted now.
    fn remember<'a>(&'a self, place: &'a Place, key: &'a HostKey)
    -> BoxFuture<'a, Result<HostKey>>;

    /// Notes the key that a host showed instead of the accepted one, for a person to judge.
    fn offered<'a>(&'a self, place: &'a Place, key: &'a HostKey) -> BoxFuture<'a, Result<()>>;
}

/// What is on record about a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) accepted: Vec<HostKey>,
    pub(super) revoked: Vec<HostKey>,
}

impl Record {
    pub(super) fn accepts(&self, key: &HostKey) -> bool {
        self.accepted.contains(key) && !self.revoked.contains(key)
    }

    /// The algorithms to offer: those of the types on record first, so that a host with several keys shows the known one; then the
    /// others, so that a host whose key type changed shows its new key and can be refused for what it is.
    pub(super) fn algorithms(&self) -> String {
        let known = |algorithm: &str| {
            self.accepted.iter().any(|key| {
                key.key_type() == algorithm
                    || (key.key_type() == "ssh-rsa" && algorithm.starts_with("rsa-sha2-"))
            })
        };
        let (first, rest): (Vec<_>, Vec<_>) = ALGORITHMS.iter().copied().partition(|a| known(a));
        [first, rest].concat().join(",")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A blob of a type, told apart by `tail`.
    pub(crate) fn key(key_type: &str, tail: &[u8]) -> HostKey {
        let length = u32::try_from(key_type.len()).unwrap().to_be_bytes();
        HostKey::new([&length, key_type.as_bytes(), tail].concat())
    }

    #[test]
    fn a_key_names_its_type_and_a_broken_one_is_unknown() {
        assert_eq!(key("ssh-ed25519", b"x").key_type(), "ssh-ed25519");
        for broken in [&b""[..], b"\0\0", b"\0\0\0\x09short", b"\0\0\0\x02\xff\xff"] {
            assert_eq!(HostKey::new(broken).key_type(), "unknown");
        }
    }

    #[test]
    fn a_fingerprint_is_the_one_ssh_keygen_prints() {
        let key = HostKey::from_base64(
            "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        )
        .unwrap();
        assert_eq!(
            key.to_string(),
            "ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }

    #[test]
    fn the_types_on_record_are_asked_for_first_and_certificates_never() {
        let record = Record {
            accepted: vec![key("ssh-rsa", b"")],
            revoked: vec![],
        };
        assert!(
            record
                .algorithms()
                .starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519,")
        );
        for record in [record, Record::default()] {
            let algorithms = record.algorithms();
            assert_eq!(algorithms.split(',').count(), ALGORITHMS.len());
            assert!(!algorithms.contains("cert"), "{algorithms}");
            assert!(algorithms.split(',').all(|a| a != "ssh-rsa"));
        }
    }

    #[test]
    fn a_key_is_accepted_by_its_bytes_and_never_once_revoked() {
        let (known, other) = (key("ssh-ed25519", b"a"), key("ssh-ed25519", b"b"));
        let mut record = Record {
            accepted: vec![known.clone()],
            revoked: vec![],
        };
        assert!(record.accepts(&known));
        assert!(!record.accepts(&other));
        record.revoked.push(known.clone());
        assert!(!record.accepts(&known));
    }
}
