//! What a server offers, for the message about one with which nothing could be agreed on. libssh2 does not tell.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A longer first packet is none.
const MAX_PACKET: usize = 35_000;
const KEXINIT: u8 = 20;
/// Kind of message and cookie.
const HEAD: usize = 17;

/// What a server offers of each kind, in its own words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) key_exchange: String,
    pub(super) host_keys: String,
    pub(super) ciphers: String,
}

/// Asks a server for its offer, on a connection of its own.
pub(super) async fn ask(address: &str, port: u16) -> io::Result<Offer> {
    let mut stream = TcpStream::connect((address, port)).await?;
    stream.write_all(b"SSH-2.0-headroom\r\n").await?;
    let mut greeting = Vec::new();
    // Lines of a banner may stand before the version.
    while !greeting.starts_with(b"SSH-") {
        greeting.clear();
        while greeting.last() != Some(&b'\n') && greeting.len() < MAX_PACKET {
            greeting.push(stream.read_u8().await?);
        }
    }
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_PACKET {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    offer(&packet).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a packet (after its length): padding length, message, padding.
fn offer(packet: &[u8]) -> Option<Offer> {
    let (_, message) = packet.split_first()?;
    if *message.first()? != KEXINIT {
        return None;
    }
    let mut rest = message.get(HEAD..)?;
    let mut list = || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let names = tail.get(..length)?;
        rest = tail.get(length..)?;
        // Words of a stranger: nothing but what names are made of.
        let names = names.iter().filter(|byte| byte.is_ascii_graphic());
        Some(names.map(|byte| char::from(*byte)).take(300).collect())
    };
    Some(Offer {
        key_exchange: list()?,
        host_keys: list()?,
        ciphers: list()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lists_are_read_as_they_stand() {
        let mut packet = vec![4, KEXINIT];
        packet.extend([7; 16]);
        for list in ["kex-a,kex-b", "ssh-rsa", "3des-cbc"] {
            packet.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            packet.extend(list.as_bytes());
        }
        let offer = offer(&packet).unwrap();
        assert_eq!(offer.key_exchange, "kex-a,kex-b");
        assert_eq!(
            (offer.host_keys.as_str(), offer.ciphers.as_str()),
            ("ssh-rsa", "3des-cbc")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_offer_or_none(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut packet = packet;
            if let Some(kind) = packet.get_mut(1) {
                *kind = KEXINIT;
            }
            if let Some(offer) = offer(&packet) {
                prop_assert!(offer.key_exchange.is_ascii());
            }
        }
    }
}
