//! A server that speaks just enough SSH to be let down by: it agrees on keys, lets anybody in, and then does what a test plays.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const GREETING: &[u8] = b"SSH-2.0-Hostile_1.0";
const TAG: usize = 16;
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
/// An answer that nobody asked for: libssh2 keeps each one.
pub const REQUEST_SUCCESS: u8 = 81;
const CHANNEL_OPEN: u8 = 90;
const WINDOW_ADJUST: u8 = 93;
const CHANNEL_DATA: u8 = 94;
const CHANNEL_REQUEST: u8 = 98;

/// The server; it ends with the test process.
pub struct Hostile {
    port: u16,
    key: String,
    left: Arc<AtomicUsize>,
}

impl Hostile {
    /// Starts one; every connection is played by itself, until it fails.
    pub fn start(play: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let signer = Arc::new(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap());
        let key = format!("ssh-ed25519 {}", STANDARD.encode(blob(&signer)));
        let left = Arc::new(AtomicUsize::new(0));
        let (play, counter) = (Arc::new(play), Arc::clone(&left));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (play, counter) = (Arc::clone(&play), Arc::clone(&counter));
                let mut wire = Wire {
                    stream: stream.unwrap(),
                    signer: Arc::clone(&signer),
                    client: Vec::new(),
                    keys: None,
                };
                thread::spawn(move || {
                    // Whoever is played with may leave at any time.
                    drop(play(&mut wire));
                    counter.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, key, left }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A line of known_hosts.
    pub fn known_hosts(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.key)
    }

    /// How many connections have ended.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    signer: Arc<Ed25519KeyPair>,
    /// Its greeting.
    client: Vec<u8>,
    /// To us, from us.
    keys: Option<(Cipher, Cipher)>,
}

struct Cipher {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Cipher {
    fn nonce(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let count = u64::from_be_bytes(self.nonce[4..].try_into().unwrap());
        self.nonce[4..].copy_from_slice(&(count + 1).to_be_bytes());
        nonce
    }
}

impl Wire {
    /// Greets, and hears the greeting and the offer of the client, which it returns; its own offer is sent.
    pub fn greet(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        self.stream.set_nodelay(true)?;
        self.stream.write_all(&[GREETING, b"\r\n"].concat())?;
        let mut byte = [0];
        while byte != *b"\n" {
            self.stream.read_exact(&mut byte)?;
            self.client.extend(byte);
        }
        while self.client.last().is_some_and(u8::is_ascii_whitespace) {
            self.client.pop();
        }
        let theirs = self.receive()?;
        let mut ours = vec![KEXINIT];
        ours.extend([7; 16]);
        let lists = [
            "curve25519-sha256",
            "ssh-ed25519",
            "aes128-gcm@openssh.com",
            "aes128-gcm@openssh.com",
            "hmac-sha2-256",
            "hmac-sha2-256",
            "none",
            "none",
            "",
            "",
        ];
        for list in lists {
            ours.extend(text(list.as_bytes()));
        }
        ours.extend([0; 5]);
        self.send(&ours)?;
        Ok((theirs, ours))
    }

    /// Agrees on keys.
    pub fn agree(&mut self) -> io::Result<()> {
        let (theirs, ours) = self.greet()?;
        let init = self.receive()?;
        let point = &init[5..];
        let random = SystemRandom::new();
        let private = EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        let public = private.compute_public_key().unwrap();
        let peer = UnparsedPublicKey::new(&X25519, point);
        let shared = agree_ephemeral(private, &peer, mpint).unwrap();
        let host_key = blob(&self.signer);
        let mut transcript = Vec::new();
        let parts: [&[u8]; 7] = [
            &self.client,
            GREETING,
            &theirs,
            &ours,
            &host_key,
            point,
            public.as_ref(),
        ];
        for part in parts {
            transcript.extend(text(part));
        }
        transcript.extend(&shared);
        let hash = digest(&SHA256, &transcript);
        let signature = self.signer.sign(hash.as_ref());
        let signature = [text(b"ssh-ed25519"), text(signature.as_ref())].concat();
        let parts = [text(&host_key), text(public.as_ref()), text(&signature)];
        self.send(&[vec![31], parts.concat()].concat())?;
        self.send(&[NEWKEYS])?;
        while self.receive()? != [NEWKEYS] {}
        let derive = |letter: u8| {
            let parts = [&shared[..], hash.as_ref(), &[letter], hash.as_ref()];
            digest(&SHA256, &parts.concat())
        };
        let cipher = |nonce: u8, key: u8| Cipher {
            key: LessSafeKey::new(
                UnboundKey::new(&AES_128_GCM, &derive(key).as_ref()[..16]).unwrap(),
            ),
            nonce: derive(nonce).as_ref()[..12].try_into().unwrap(),
        };
        self.keys = Some((cipher(b'A', b'C'), cipher(b'B', b'D')));
        Ok(())
    }

    /// Agrees on keys and lets the client in, whatever it shows.
    pub fn let_in(&mut self) -> io::Result<()> {
        self.agree()?;
        self.await_kind(5)?;
        self.send(&[&[6][..], &text(b"ssh-userauth")].concat())?;
        self.await_kind(50)?;
        self.send(&[52])
    }

    /// Grants the client a channel with a window of so many bytes, and the command that it asks for; both name the channel with a number,
    /// its own is returned.
    pub fn open(&mut self, window: u32) -> io::Result<u32> {
        let open = self.await_kind(CHANNEL_OPEN)?;
        let channel = number(&open[1 + 4 + number(&open[1..]) as usize..]);
        let mut answer = vec![91];
        for number in [channel, 0, window, 32_768] {
            answer.extend(number.to_be_bytes());
        }
        self.send(&answer)?;
        self.await_kind(CHANNEL_REQUEST)?;
        self.send(&[&[99][..], &channel.to_be_bytes()].concat())?;
        Ok(channel)
    }

    /// Lets the client write so much more.
    pub fn widen(&mut self, channel: u32, by: u32) -> io::Result<()> {
        self.send(
            &[
                &[WINDOW_ADJUST][..],
                &channel.to_be_bytes(),
                &by.to_be_bytes(),
            ]
            .concat(),
        )
    }

    /// What the client writes next.
    pub fn input(&mut self) -> io::Result<Vec<u8>> {
        let data = self.await_kind(CHANNEL_DATA)?;
        Ok(data[9..].to_vec())
    }

    /// Writes to a channel of the client.
    pub fn output(&mut self, channel: u32, bytes: &[u8]) -> io::Result<()> {
        let parts = [&[CHANNEL_DATA][..], &channel.to_be_bytes(), &text(bytes)];
        self.send(&parts.concat())
    }

    /// The next message of a kind; others are passed over.
    pub fn await_kind(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let message = self.receive()?;
            if message[0] == kind {
                return Ok(message);
            }
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let (block, head) = match self.keys {
            Some(_) => (16, 1),
            None => (8, 5),
        };
        let padding = block + 4 - (head + 4 + message.len()) % block;
        let length = u32::try_from(1 + message.len() + padding).unwrap();
        let length = length.to_be_bytes();
        let padding_byte = u8::try_from(padding).unwrap();
        let mut body = [&[padding_byte][..], message, &vec![0; padding]].concat();
        if let Some((_, cipher)) = &mut self.keys {
            let nonce = cipher.nonce();
            let sealed = cipher
                .key
                .seal_in_place_append_tag(nonce, Aad::from(length), &mut body);
            sealed.unwrap();
        }
        self.stream.write_all(&[&length[..], &body].concat())
    }

    /// The next message.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let tag = if self.keys.is_some() { TAG } else { 0 };
        let mut body = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut body)?;
        if let Some((cipher, _)) = &mut self.keys {
            let nonce = cipher.nonce();
            let opened = cipher
                .key
                .open_in_place(nonce, Aad::from(length), &mut body);
            opened.unwrap();
            body.truncate(body.len() - tag);
        }
        let padding = usize::from(body[0]);
        Ok(body[1..body.len() - padding].to_vec())
    }
}

fn blob(signer: &Ed25519KeyPair) -> Vec<u8> {
    [text(b"ssh-ed25519"), text(signer.public_key().as_ref())].concat()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A positive number as SSH writes it.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap();
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes[0] > 0x7f { &[0] } else { &[] };
    text(&[sign, bytes].concat())
}
