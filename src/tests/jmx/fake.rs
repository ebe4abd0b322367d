//! A JVM that logs everybody in as a real one did, and then answers whatever it is asked with the same bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const LOOKUP: &[u8] = include_bytes!("replies/lookup.bin");
const LOGIN: &[u8] = include_bytes!("replies/new_client.bin");
const LEASE: &[u8] = include_bytes!("replies/lease.bin");
/// Where the captured JVM said to be; its port follows, in four bytes.
const HOST: &[u8] = b"\x00\x09127.0.0.1";

/// Listens for as long as the test runs.
pub async fn jvm(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let at_home = |reply: &[u8]| {
        let mut reply = reply.to_vec();
        let host = reply.windows(HOST.len()).position(|part| part == HOST);
        let at = host.unwrap() + HOST.len();
        reply[at..at + 4].copy_from_slice(&u32::from(port).to_be_bytes());
        reply
    };
    let replies = [at_home(LOOKUP), at_home(LOGIN), LEASE.to_vec()];
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(socket, replies.clone(), answer.clone()));
        }
    });
    port
}

async fn talk(mut socket: TcpStream, replies: [Vec<u8>; 3], answer: Vec<u8>) {
    let mut hello = [0; 13];
    if socket.read_exact(&mut hello).await.is_err() {
        return;
    }
    let greeting = [0x4e, 0, 1, b'h', 0, 0, 0, 1];
    socket.write_all(&greeting).await.unwrap();
    let mut replies = replies.iter().chain(std::iter::repeat(&answer));
    let mut heard = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = socket.read(&mut heard).await {
        // A call is written at once; beside calls only the word comes that a login has arrived.
        let only_thanks = count == 15 && heard[0] == 0x54;
        if !only_thanks && socket.write_all(replies.next().unwrap()).await.is_err() {
            return;
        }
    }
}

/// Writes the few Java objects that a list of attributes is made of.
pub struct Java {
    pub bytes: Vec<u8>,
    handles: u32,
}

impl Java {
    /// The beginning of a reply that returns a value.
    pub fn reply() -> Self {
        let mut bytes = vec![0x51, 0xac, 0xed, 0, 5, 0x77, 15, 1];
        bytes.extend([0; 14]);
        Self { bytes, handles: 0 }
    }

    fn handle(&mut self) -> u32 {
        self.handles += 1;
        0x7e_0000 + self.handles - 1
    }

    fn utf(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(text.as_bytes());
    }

    /// A string.
    pub fn text(&mut self, text: &str) -> u32 {
        self.bytes.push(0x7c);
        self.bytes.extend((text.len() as u64).to_be_bytes());
        self.bytes.extend(text.as_bytes());
        self.handle()
    }

    /// What was sent before.
    pub fn again(&mut self, handle: u32) {
        self.bytes.push(0x71);
        self.bytes.extend(handle.to_be_bytes());
    }

    /// The class of the object that is to begin: its fields are objects.
    pub fn class(&mut self, name: &str, flags: u8, fields: &[&str]) -> u32 {
        self.bytes.push(0x72);
        self.utf(name);
        self.bytes.extend([0; 8]);
        self.bytes.push(flags);
        let count = u16::try_from(fields.len()).unwrap();
        self.bytes.extend(count.to_be_bytes());
        let class = self.handle();
        for field in fields {
            self.bytes.push(b'L');
            self.utf(field);
            self.bytes.push(0x74);
            self.utf("Ljava/lang/Object;");
            self.handle();
        }
        self.bytes.extend([0x78, 0x70]);
        class
    }

    /// An object of a class that is written out now; its own handle.
    pub fn object(&mut self, name: &str, flags: u8, fields: &[&str]) -> (u32, u32) {
        self.bytes.push(0x73);
        let class = self.class(name, flags, fields);
        (class, self.handle())
    }

    /// An object of a class that was sent before.
    pub fn another(&mut self, class: u32) {
        self.bytes.push(0x73);
        self.again(class);
        self.handle();
    }

    /// A map with this one text as key and value of every entry.
    pub fn map(&mut self, text: u32, entries: usize) -> u32 {
        let (_, map) = self.object("java.util.HashMap", 3, &[]);
        for _ in 0..2 * entries {
            self.again(text);
        }
        self.end();
        map
    }

    /// The end of what a list or a map holds.
    pub fn end(&mut self) {
        self.bytes.push(0x78);
    }
}
