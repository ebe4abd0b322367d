//! The bare parts of a stream: numbers, strings and lengths, each held against what one reply may hold.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::failure::Failure;
use super::super::graph::Node;
use super::{LONG_STRING, REFERENCE, Read, Reader, STRING, unexpected};

/// Memory set aside at once for bytes that are still to come.
const CHUNK: usize = 4096;

impl<R: AsyncRead + Unpin + Send> Reader<'_, R> {
    /// A string, written out or by its handle.
    pub(super) async fn text_reference(&mut self) -> Read<usize> {
        let place = match self.u8().await? {
            REFERENCE => self.reference().await?,
            tag @ (STRING | LONG_STRING) => self.string(tag).await?,
            tag => return Err(unexpected(tag, "a string")),
        };
        match self.graph.node(place) {
            Some(Node::Text(_)) => Ok(place),
            _ => Err(Failure::garbled("a string is expected where there is none")),
        }
    }

    pub(super) async fn string(&mut self, tag: u8) -> Read<usize> {
        let place = self.place()?;
        let text = if tag == STRING {
            self.utf().await?
        } else {
            let length = u64::from_be_bytes(self.fixed().await?);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            decode(self.raw(length).await?)
        };
        self.graph.fill(place, Node::Text(text));
        Ok(place)
    }

    pub(super) async fn utf(&mut self) -> Read<Box<str>> {
        let length = u16::from_be_bytes(self.fixed().await?);
        Ok(decode(self.raw(usize::from(length)).await?))
    }

    /// A place in the arena for the next handle.
    pub(super) fn place(&mut self) -> Read<usize> {
        self.spend(1)?;
        Ok(self.graph.reserve())
    }

    pub(super) fn spend(&mut self, items: usize) -> Read<()> {
        let left = self.items_left.checked_sub(items);
        self.items_left = left.ok_or_else(|| {
            let most = self.limits.items;
            Failure::garbled(format!("a reply holds more than {most} values"))
        })?;
        Ok(())
    }

    /// A length that is not negative.
    pub(super) async fn length(&mut self) -> Read<usize> {
        let length = i32::from_be_bytes(self.fixed().await?);
        usize::try_from(length)
            .map_err(|_| Failure::garbled(format!("a reply claims a length of {length}")))
    }

    pub(super) async fn u8(&mut self) -> Read<u8> {
        let [byte] = self.fixed().await?;
        Ok(byte)
    }

    pub(super) async fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    pub(super) async fn raw(&mut self, length: usize) -> Read<Vec<u8>> {
        self.take(length)?;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let have = bytes.len();
            bytes.resize(have + CHUNK.min(length - have), 0);
            let fresh = bytes.get_mut(have..).unwrap_or_default();
            self.input.read_exact(fresh).await?;
        }
        Ok(bytes)
    }

    fn take(&mut self, bytes: usize) -> Read<()> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or_else(|| {
            let most = self.limits.bytes / 1024;
            Failure::garbled(format!("a reply is longer than {most} KiB"))
        })?;
        Ok(())
    }
}

/// Java's own UTF-8: NUL takes two bytes, and what lies beyond 16 bits is written as two surrogates.
fn decode(bytes: Vec<u8>) -> Box<str> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return text.into(),
        Err(error) => error.into_bytes(),
    };
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().map(|byte| u16::from(*byte));
    while let Some(first) = rest.next() {
        let mut more = || rest.next().unwrap_or_default() & 0x3f;
        units.push(match first {
            0x00..=0x7f => first,
            0xc0..=0xdf => (first & 0x1f) << 6 | more(),
            0xe0..=0xef => (first & 0x0f) << 12 | more() << 6 | more(),
            _ => 0xfffd,
        });
    }
    String::from_utf16_lossy(&units).into()
}
