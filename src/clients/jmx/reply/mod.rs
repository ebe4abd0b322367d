//! What comes back from a call.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::failure::{Failure, Thrown};
use super::graph::{Graph, Value};
use super::stream::{Limits, Reader};

/// What a call gave back.
pub struct Reply {
    /// Everything that came.
    pub graph: Graph,
    /// The value; `null` for a method that gives none.
    pub value: Value,
    /// Names the reply, to acknowledge it by.
    pub(super) id: Vec<u8>,
}

/// What a method gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// An object.
    Value,
    /// Nothing.
    Nothing,
}

/// Reads the reply to one call.
///
/// # Errors
/// The connection breaks, what comes makes no sense or is too much, or the JVM throws.
pub async fn reply<R: AsyncRead + Unpin + Send>(
    input: &mut R,
    gives: Gives,
    limits: Limits,
) -> Result<Reply, Failure> {
    match input.read_u8().await? {
        0x51 => {}
        byte => {
            return Err(Failure::garbled(format!(
                "byte {byte:#04x} where a reply should begin"
            )));
        }
    }
    let mut reader = Reader::new(input, limits);
    reader.header().await?;
    let head = reader.block().await?;
    let value = match (head.first(), gives) {
        (Some(1), Gives::Nothing) => Value::Null,
        (Some(1 | 2), _) => reader.value().await?,
        _ => return Err(Failure::garbled("a reply neither returns nor throws")),
    };
    if head.first() == Some(&2) {
        return Err(Failure::Thrown(Thrown::of(&reader.graph, value)));
    }
    Ok(Reply {
        graph: reader.graph,
        value,
        id: head.get(1..15).unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests;
