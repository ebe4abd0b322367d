//! One SSH connection: a non-blocking libssh2 session over a socket that the event threads watch.
//!
//! One libssh2 call is driven to its end before the next one on the same session begins, as libssh2 demands; nothing blocks a thread, so a
//! node that hangs costs a timer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use ssh2::{DisconnectCode, ErrorCode, MethodType, Session};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::block_in_place;

use crate::clients::ssh::agent::Agent;
use crate::clients::ssh::guard::Guard;
use crate::clients::ssh::shell::Shell;
use crate::clients::ssh::socket::{Blocks, Socket, drive, step, to_u64, unsent};
use crate::clients::ssh::trust::{HostKey, Record};
use crate::clients::ssh::{Host, Identity, Login};

/// Fast ones first; the group exchanges cost forty times as much and come last.
const KEY_EXCHANGE: &str = "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
    ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,\
    diffie-hellman-group-exchange-sha256";
const CIPHERS: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr";

pub(super) const AUTHENTICATION_FAILED: ErrorCode = ErrorCode::Session(-18);
const KEY_FILE: ErrorCode = ErrorCode::Session(-16);
const KEY_UNVERIFIED: ErrorCode = ErrorCode::Session(-19);
/// What a read or write on a connection fails with that the server has closed.
const HUNG_UP: [ErrorCode; 3] = [
    ErrorCode::Session(-7),
    ErrorCode::Session(-13),
    ErrorCode::Session(-43),
];
/// What a key exchange that is not finished fails with, whether nothing was agreed on or the connection was lost.
const BROKEN_OFF: [ErrorCode; 2] = [ErrorCode::Session(-5), ErrorCode::Session(-8)];

/// A connection; its socket is shut when it is dropped.
pub(super) struct Connection {
    // Before the session, which outlives its channels.
    pub(super) shell: Option<Box<Shell>>,
    /// Why no shell can be held on it, if so.
    pub(super) no_shell: Option<String>,
    /// Whether the handshake failed for want of anything in common.
    pub(super) no_common_method: bool,
    pub(super) session: Session,
    pub(super) socket: Arc<Socket>,
    guard: Arc<Guard>,
}

impl Connection {
    /// A connection over the socket of a host that has greeted. A session takes memory, so none is made before its handshake begins.
    pub(super) fn over(socket: Socket, guard: Arc<Guard>) -> Result<Self, String> {
        let session = Session::new().map_err(|cause| format!("no SSH session: {cause}"))?;
        // Of the 83 KiB that libssh2 reserves for packets and the like, a node needs about 20.
        session_pages::give_back(&session);
        session.set_blocking(false);
        Ok(Self {
            shell: None,
            no_shell: None,
            no_common_method: false,
            session,
            socket: Arc::new(socket),
            guard,
        })
    }

    /// Agrees on keys and ciphers; returns the host's key, still to be judged.
    pub(super) async fn handshake(
        &mut self,
        record: &Record,
        keepalive: Duration,
    ) -> Result<HostKey, String> {
        let algorithms = record.algorithms();
        for (method, wanted) in [
            (MethodType::Kex, KEY_EXCHANGE),
            (MethodType::HostKey, algorithms.as_str()),
            (MethodType::CryptCs, CIPHERS),
            (MethodType::CryptSc, CIPHERS),
        ] {
            let set = self.session.method_pref(method, wanted);
            set.map_err(|cause| format!("libssh2 refused \"{wanted}\": {}", cause.message()))?;
        }
        self.session.set_tcp_stream(Arc::clone(&self.socket));
        let mut session = self.session.clone();
        let shaken = self.drive(|| session.handshake()).await;
        shaken.map_err(|cause| self.explain_handshake(&cause))?;
        let seconds = u32::try_from(keepalive.as_secs()).unwrap_or(u32::MAX);
        // Without asking for an answer: libssh2 would keep each one for as long as the connection lives.
        self.session.set_keepalive(false, seconds);
        let key = self.session.host_key().map(|(blob, _)| HostKey::new(blob));
        key.ok_or_else(|| "the server showed no host key".into())
    }

    fn explain_handshake(&mut self, cause: &ssh2::Error) -> String {
        let banner = match self.session.banner() {
            Some(banner) => format!(
                " (it says {:?})",
                banner.chars().take(80).collect::<String>()
            ),
            None => String::new(),
        };
        let broken_off = BROKEN_OFF.contains(&cause.code());
        if (broken_off || HUNG_UP.contains(&cause.code())) && self.agreed() {
            return format!(
                "the key exchange broke off{banner}: {}; the server hung up, and its log says why: it may refuse the address, or more \
                 connections for now (MaxStartups)",
                cause.message()
            );
        }
        if broken_off {
            self.no_common_method = true;
            return format!(
                "no common key exchange, host key type or cipher with the server{banner}: a server this old (SHA-1, ssh-rsa, DSA or \
                 3DES only) cannot be reached, update its sshd: {}",
                cause.message()
            );
        }
        format!("the SSH handshake failed{banner}: {}", cause.message())
    }

    /// Whether every method of the key exchange was agreed on.
    fn agreed(&self) -> bool {
        use MethodType::{CryptCs, CryptSc, HostKey, Kex, MacCs, MacSc};
        [Kex, HostKey, CryptCs, CryptSc, MacCs, MacSc]
            .into_iter()
            .all(|method| self.session.methods(method).is_some())
    }

    /// Logs in.
    pub(super) async fn login(
        &self,
        login: &Login,
        agent: &Agent,
        limit: Duration,
    ) -> Result<(), String> {
        match &login.identity {
            Identity::Agent => agent.login(self, &login.user, limit).await,
            Identity::Key {
                key,
                passphrase,
                certificate,
            } => {
                let passphrase = passphrase.as_ref().map(ExposeSecret::expose_secret);
                let shown = self.drive(|| {
                    // A key with a passphrase costs a tenth of a second to open: other connections need not wait for that.
                    let show = || {
                        let key = key.expose_secret();
                        let certificate = certificate.as_deref();
                        let session = &self.session;
                        session.userauth_pubkey_memory(&login.user, certificate, key, passphrase)
                    };
                    if passphrase.is_some() {
                        block_in_place(show)
                    } else {
                        show()
                    }
                });
                let shown = shown.await;
                shown.map_err(|cause| refusal(&login.user, &cause, passphrase.is_some()))
            }
        }
    }

    /// Drives a libssh2 call on this session; see [`drive`].
    pub(super) async fn drive<T, E: Blocks>(
        &self,
        call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        drive(&self.session, &self.socket, self.watched(call)).await
    }

    /// Takes a libssh2 call on this session as far as it goes without the other side; see [`step`].
    pub(super) async fn step<T, E: Blocks>(
        &self,
        call: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        step(&self.session, &self.socket, self.watched(call)).await
    }

    /// A call with an eye on what comes in with it.
    fn watched<T, E: Blocks>(
        &self,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> impl FnMut() -> Result<T, E> {
        move || {
            let metered = || self.socket.metered(&mut call);
            let outcome = self.guard.watch(&self.socket, metered);
            if self.socket.is_flooded() {
                return Err(E::flooded());
            }
            outcome
        }
    }

    /// Notes how much was read of a channel.
    pub(super) fn heard(&self, count: usize) {
        self.socket.ledger().heard(to_u64(count));
    }

    /// Sends a keep-alive if one is due. Fails when the connection is known to be gone.
    pub(super) fn keep_alive(&self) -> Result<(), ssh2::Error> {
        if unsent(&self.session) {
            // A packet on its way is sign of life enough, and must be sent whole first.
            return Ok(());
        }
        match self.session.keepalive_send() {
            Err(error) if !error.would_block() => Err(error),
            // The other side has taken nothing for so long that there is no room for this: and libssh2 cannot send the rest of it later.
            _ if unsent(&self.session) => Err(ssh2::Error::lost(io::ErrorKind::TimedOut.into())),
            _ => Ok(()),
        }
    }

    /// Says good-bye, as far as that goes without waiting.
    pub(super) fn close(self) {
        let said = self
            .session
            .disconnect(Some(DisconnectCode::ByApplication), "idle", None);
        tracing::trace!(?said, "SSH connection closed");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without this libssh2 would wait for the host's answers before it frees anything, which a non-blocking session never sees: the
        // memory would leak. On a shut socket it gives up at once.
        if let Err(cause) = self.socket.shut() {
            tracing::trace!(%cause, "socket was closed already");
        }
    }
}

/// Why a server did not take a key.
pub(super) fn refusal(user: &str, cause: &ssh2::Error, passphrase: bool) -> String {
    match cause.code() {
        AUTHENTICATION_FAILED => format!(
            "the server refused the key of the profile for user {user}: add its public half to that user's authorized_keys"
        ),
        KEY_FILE | KEY_UNVERIFIED => {
            let hint = if passphrase {
                "its passphrase must be the right one"
            } else {
                "it must be an OpenSSH or PEM key, with a passphrase in the profile if it is encrypted"
            };
            format!(
                "login as {user} failed: the private key could not be used ({}); {hint}, and the server must accept it for this user",
                cause.message()
            )
        }
        code if HUNG_UP.contains(&code) => format!(
            "the server hung up during the login as {user}, after the key exchange ({}): its log says why; it may refuse the address, \
             or more connections for now (MaxStartups)",
            cause.message()
        ),
        _ => format!("login as {user} failed: {}", cause.message()),
    }
}

/// Reaches a host and waits until it greets. Costs the host nothing yet: a host that never greets holds no handshake slot.
pub(super) async fn reach(address: &str, port: u16) -> Result<Socket, String> {
    let found = lookup_host((address, port)).await;
    let found = found
        .map_err(|cause| format!("no connection: the name {address} does not resolve: {cause}"))?;
    let stream = TcpStream::connect(found.collect::<Vec<_>>().as_slice())
        .await
        .map_err(|cause| unreachable(&cause))?;
    let socket = Socket::network(stream).map_err(|cause| format!("no socket: {cause}"))?;
    greeted(socket).await
}

/// The socket, once the host has greeted.
pub(super) async fn greeted(socket: Socket) -> Result<Socket, String> {
    let spoken_to = socket.spoken_to().await;
    spoken_to.map_err(|cause| format!("connection lost: {cause}"))?;
    Ok(socket)
}

fn unreachable(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused: no sshd listens there, or a firewall rejects it".into()
        }
        _ => format!("no connection: {cause}"),
    }
}

/// Names a host in messages: `ops@10.0.0.11:22`.
pub(super) fn label(host: &Host) -> String {
    let Host { address, port, .. } = host;
    let user = &host.login.user;
    if address.contains(':') {
        format!("{user}@[{address}]:{port}")
    } else {
        format!("{user}@{address}:{port}")
    }
}
