//! Pinned keys, in the lines of OpenSSH's known_hosts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};

use crate::clients::ssh::trust::{HostKey, Record};
use crate::error::Fault;

/// The lines of a known_hosts file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    revoked: bool,
    names: Names,
    key: HostKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    /// Patterns with `*` and `?`; `!` excludes.
    Plain(Vec<String>),
    /// `|1|salt|hash`: the HMAC-SHA-1 of the name, with the salt as its key.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl KnownHosts {
    /// Reads the lines. Lines of `@cert-authority` are passed over: certificates are never asked for, so no key could match them.
    ///
    /// # Errors
    /// Every line that is neither empty, a comment nor a key, by its number.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut entries = Vec::new();
        let mut faults = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match entry(line) {
                Ok(entry) => entries.extend(entry),
                Err(message) => faults.push(Fault::new(format!("line {number}"), message)),
            }
        }
        if faults.is_empty() {
            Ok(Self { entries })
        } else {
            Err(faults)
        }
    }

    /// What the lines say about a host.
    pub(super) fn record(&self, address: &str, port: u16) -> Record {
        let name = name(address, port);
        let mut record = Record::default();
        for entry in self.entries.iter().filter(|entry| entry.matches(&name)) {
            let keys = if entry.revoked {
                &mut record.revoked
            } else {
                &mut record.accepted
            };
            keys.push(entry.key.clone());
        }
        record
    }

    /// The lines in a form of their own, to notice a change.
    pub(super) fn canonical(&self) -> String {
        format!("{:?}", self.entries)
    }
}

/// A host as known_hosts names it.
pub(super) fn name(address: &str, port: u16) -> String {
    let address = address.to_ascii_lowercase();
    if port == 22 {
        address
    } else {
        format!("[{address}]:{port}")
    }
}

fn entry(line: &str) -> Result<Option<Entry>, String> {
    let mut words = line.split_ascii_whitespace();
    let Some(mut first) = words.next() else {
        return Ok(None);
    };
    if first.starts_with('#') {
        return Ok(None);
    }
    let mut revoked = false;
    if let Some(marker) = first.strip_prefix('@') {
        match marker {
            "revoked" => revoked = true,
            "cert-authority" => return Ok(None),
            other => {
                return Err(format!(
                    "the marker @{other} is not known: use @revoked or none"
                ));
            }
        }
        first = words.next().unwrap_or_default();
    }
    let (Some(key_type), Some(text)) = (words.next(), words.next()) else {
        return Err("not a known_hosts line: host, key type and key are needed".into());
    };
    let key =
        HostKey::from_base64(text).ok_or_else(|| format!("the {key_type} key is no base64"))?;
    if key.key_type() != key_type {
        return Err(format!(
            "the line says {key_type}, but the key is of type {}",
            key.key_type()
        ));
    }
    let names = if first.starts_with('|') {
        hashed(first).ok_or("the hashed name is not |1|salt|hash in base64")?
    } else {
        Names::Plain(
            first
                .to_ascii_lowercase()
                .split(',')
                .map(Into::into)
                .collect(),
        )
    };
    Ok(Some(Entry {
        revoked,
        names,
        key,
    }))
}

fn hashed(field: &str) -> Option<Names> {
    let (salt, hash) = field.strip_prefix("|1|")?.split_once('|')?;
    Some(Names::Hashed {
        salt: STANDARD.decode(salt).ok()?,
        hash: STANDARD.decode(hash).ok()?,
    })
}

impl Entry {
    fn matches(&self, name: &str) -> bool {
        match &self.names {
            Names::Plain(patterns) => {
                let matches = |pattern: &str| wildcard(pattern.as_bytes(), name.as_bytes());
                let mut matched = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(excluded) if matches(excluded) => return false,
                        Some(_) => {}
                        None => matched |= matches(pattern),
                    }
                }
                matched
            }
            Names::Hashed { salt, hash } => {
                let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
        }
    }
}

/// `*` stands for any text, `?` for any one byte.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => wildcard(rest, text),
        (Some((b'*', rest)), Some((_, tail))) => wildcard(rest, text) || wildcard(pattern, tail),
        (Some((b'?', rest)), Some((_, tail))) => wildcard(rest, tail),
        (Some((a, rest)), Some((b, tail))) if a == b => wildcard(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJ6AJ1aLVYXnIUJvVSdb8qXKRNqcsTJtQZnk0mVyKXyU";

    fn record(text: &str, address: &str, port: u16) -> Record {
        KnownHosts::parse(text).unwrap().record(address, port)
    }

    #[test]
    fn a_host_is_found_by_name_address_port_and_pattern() {
        let cases = [
            ("web01", "web01", 22, true),
            ("WEB01", "Web01", 22, true),
            ("web01,10.0.0.1", "10.0.0.1", 22, true),
            ("web01", "web01", 2222, false),
            ("[web01]:2222", "web01", 2222, true),
            ("[web01]:2222", "web01", 22, false),
            ("web0?", "web01", 22, true),
            ("*.example.org", "a.example.org", 22, true),
            ("*.example.org", "example.org", 22, false),
            ("*.example.org,!a.example.org", "a.example.org", 22, false),
            ("*.example.org,!a.example.org", "b.example.org", 22, true),
            ("[fe80::1]:2222", "fe80::1", 2222, true),
        ];
        for (names, address, port, found) in cases {
            let line = format!("{names} ssh-ed25519 {KEY} a comment");
            let record = record(&line, address, port);
            assert_eq!(
                record.accepted.len(),
                usize::from(found),
                "{names} {address} {port}"
            );
        }
    }

    #[test]
    fn a_hashed_name_is_found_with_its_port() {
        // Made with ssh-keygen -H from "web01" and "[web01]:2222".
        let lines = include_str!("../../tests/support/hashed_known_hosts");
        assert_eq!(record(lines, "web01", 22).accepted.len(), 1);
        assert_eq!(record(lines, "web01", 2222).accepted.len(), 1);
        assert_eq!(record(lines, "web01", 2223), Record::default());
        assert_eq!(record(lines, "web02", 22), Record::default());
    }

    #[test]
    fn ten_thousand_hashed_lines_are_looked_through_in_no_time() {
        let lines = include_str!("../../tests/support/hashed_known_hosts").repeat(5_000);
        let known = KnownHosts::parse(&lines).unwrap();
        let started = std::time::Instant::now();
        assert_eq!(known.record("web01", 22).accepted.len(), 5_000);
        let took = started.elapsed();
        // A session of libssh2 for each line took tens of seconds.
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn a_revoked_key_is_kept_apart() {
        let text = format!("web01 ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {OTHER}\n");
        let record = record(&text, "web01", 22);
        assert_eq!(
            (record.accepted.len(), record.revoked.len()),
            (1, 1),
            "{record:?}"
        );
        assert!(!record.accepts(&HostKey::from_base64(OTHER).unwrap()));
    }

    #[test]
    fn comments_empty_lines_and_authorities_are_passed_over() {
        let text = format!("\n# web\n  \n@cert-authority * ssh-ed25519 {KEY}\n");
        assert_eq!(record(&text, "web01", 22), Record::default());
    }

    #[test]
    fn every_bad_line_is_named_by_its_number() {
        let text = format!(
            "web01 ssh-ed25519\n\nweb01 ssh-rsa {KEY}\nweb01 ssh-rsa !!\n@x y z w\n|2|x|y ssh-ed25519 {KEY}"
        );
        let faults: Vec<String> = KnownHosts::parse(&text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            faults,
            [
                "line 1: not a known_hosts line: host, key type and key are needed",
                "line 3: the line says ssh-rsa, but the key is of type ssh-ed25519",
                "line 4: the ssh-rsa key is no base64",
                "line 5: the marker @x is not known: use @revoked or none",
                "line 6: the hashed name is not |1|salt|hash in base64",
            ]
        );
    }
}
