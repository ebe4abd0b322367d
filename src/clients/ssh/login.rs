//! How to log in: who, with what, by whose leave, and through what.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::clients::ssh::Host;
use crate::clients::ssh::trust::Trust;

/// What proves who we are.
#[derive(Clone)]
pub enum Identity {
    /// A private key (OpenSSH or PEM text).
    Key {
        /// The key.
        key: SecretString,
        /// What it is encrypted with, if it is.
        passphrase: Option<SecretString>,
        /// The OpenSSH certificate of the key, if it has one: the text of its `-cert.pub` file.
        certificate: Option<String>,
    },
    /// The keys of the agent that `SSH_AUTH_SOCK` names, one after the other.
    Agent,
}

/// How to log in, shared by the hosts of a profile.
pub struct Login {
    pub(super) user: String,
    pub(super) identity: Identity,
    pub(super) trust: Trust,
    pub(super) via: Option<Host>,
    pub(super) digest: [u8; 32],
    pub(super) connect_limit: Option<Duration>,
}

impl Login {
    /// A user, a private key (OpenSSH or PEM text) and how host keys are trusted.
    pub fn new(user: impl Into<String>, key: SecretString, trust: Trust) -> Self {
        let identity = Identity::Key {
            key,
            passphrase: None,
            certificate: None,
        };
        Self::with(user, identity, trust, None)
    }

    /// A user, what proves it, how host keys are trusted, and the host that connections are made through.
    pub fn with(
        user: impl Into<String>,
        identity: Identity,
        trust: Trust,
        via: Option<Host>,
    ) -> Self {
        let user = user.into();
        let digest = digest(&user, &identity, &trust, via.as_ref());
        Self {
            user,
            identity,
            trust,
            via,
            digest,
            connect_limit: None,
        }
    }

    /// The same, with a time limit of its own for reaching a host, and again for key exchange and login.
    pub fn within(mut self, connect_limit: Option<Duration>) -> Self {
        self.connect_limit = connect_limit;
        self
    }
}

/// Names a login without telling it: another digest, another login.
fn digest(user: &str, identity: &Identity, trust: &Trust, via: Option<&Host>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    add(user.as_bytes());
    match identity {
        Identity::Agent => add(b"agent"),
        Identity::Key {
            key,
            passphrase,
            certificate,
        } => {
            let passphrase = passphrase.as_ref().map_or("", |text| text.expose_secret());
            let certificate = certificate.as_deref().unwrap_or_default();
            for part in [key.expose_secret(), passphrase, certificate] {
                add(part.as_bytes());
            }
        }
    }
    match trust {
        Trust::FirstUse => add(b""),
        Trust::Pinned(lines) => add(lines.canonical().as_bytes()),
    }
    if let Some(host) = via {
        add(host.address.as_bytes());
        add(&host.port.to_be_bytes());
        add(&host.login.digest);
    }
    hash.finalize().into()
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
