//! Reads Java's Object Serialization Stream Protocol into a [`Graph`], from whoever may be at the other end.
//!
//! Nothing is trusted: the bytes, the things read and the depth are bounded, no memory is set aside for a length that is only claimed, and
//! a class's line of ancestors may not go in circles. Classes that nobody knows are read by their own description and passed over.

mod bytes;
mod classes;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use super::failure::{Failure, Thrown};
use super::graph::{Extra, Graph, Level, Node, Value};

const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const CLASS_DESC: u8 = 0x72;
const OBJECT: u8 = 0x73;
const STRING: u8 = 0x74;
const ARRAY: u8 = 0x75;
const CLASS: u8 = 0x76;
const BLOCK: u8 = 0x77;
const END_BLOCK: u8 = 0x78;
const RESET: u8 = 0x79;
const BLOCK_LONG: u8 = 0x7a;
const EXCEPTION: u8 = 0x7b;
const LONG_STRING: u8 = 0x7c;
const PROXY_DESC: u8 = 0x7d;
const ENUM: u8 = 0x7e;

const FIRST_HANDLE: u32 = 0x7e_0000;
const WRITE_METHOD: u8 = 0x01;
const SERIALIZABLE: u8 = 0x02;
const EXTERNALIZABLE: u8 = 0x04;
const BLOCK_DATA: u8 = 0x08;

/// Objects within objects. Each costs some stack.
const MAX_DEPTH: usize = 64;
/// Classes in one line of ancestors.
const MAX_ANCESTORS: usize = 64;

/// How much one reply may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes.
    pub bytes: usize,
    /// Values, objects and classes together.
    pub items: usize,
}

impl Limits {
    /// For the attributes of counters.
    pub const READ: Self = Self {
        bytes: 1024 * 1024,
        items: 64 * 1024,
    };
    /// For the names of all MBeans of a large server.
    pub const BROWSE: Self = Self {
        bytes: 16 * 1024 * 1024,
        items: 512 * 1024,
    };
}

/// Reads one stream.
pub struct Reader<'a, R> {
    input: &'a mut R,
    limits: Limits,
    bytes_left: usize,
    items_left: usize,
    depth: usize,
    /// Where handles begin: those before a reset no longer count.
    base: usize,
    /// What was read.
    pub graph: Graph,
}

type Read<T> = Result<T, Failure>;

impl<'a, R: AsyncRead + Unpin + Send> Reader<'a, R> {
    /// A reader of one stream with these bounds.
    pub fn new(input: &'a mut R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            bytes_left: limits.bytes,
            items_left: limits.items,
            depth: 0,
            base: 0,
            graph: Graph::default(),
        }
    }

    /// Reads the magic number and the version.
    ///
    /// # Errors
    /// They are not there.
    pub async fn header(&mut self) -> Read<()> {
        match self.fixed::<4>().await? {
            [0xac, 0xed, 0x00, 0x05] => Ok(()),
            other => Err(Failure::garbled(format!(
                "a reply begins with {} where serialised Java is expected",
                hex::encode(other)
            ))),
        }
    }

    /// Reads a block of bare bytes.
    ///
    /// # Errors
    /// There is something else, or too much.
    pub async fn block(&mut self) -> Read<Vec<u8>> {
        match self.u8().await? {
            BLOCK => {
                let length = usize::from(self.u8().await?);
                self.raw(length).await
            }
            BLOCK_LONG => {
                let length = self.length().await?;
                self.raw(length).await
            }
            tag => Err(unexpected(tag, "a block of bytes")),
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// The stream ends, is out of bounds or makes no sense; `Thrown` where the sender gave up half-way and says why.
    pub async fn value(&mut self) -> Read<Value> {
        loop {
            match self.u8().await? {
                RESET => self.reset(),
                tag => return self.content(tag).await,
            }
        }
    }

    fn reset(&mut self) {
        self.base = self.graph.len();
    }

    fn content(&mut self, tag: u8) -> BoxFuture<'_, Read<Value>> {
        async move {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(Failure::garbled(format!(
                    "objects are nested more than {MAX_DEPTH} deep"
                )));
            }
            let value = match tag {
                NULL => Ok(Value::Null),
                REFERENCE => self.reference().await.map(Value::Object),
                STRING | LONG_STRING => self.string(tag).await.map(Value::Object),
                OBJECT => self.object().await,
                ARRAY => self.array().await,
                ENUM => self.constant().await,
                CLASS => self.class_value().await,
                CLASS_DESC | PROXY_DESC => {
                    let class = self.class_from(tag).await?;
                    Ok(class.map_or(Value::Null, Value::Object))
                }
                EXCEPTION => Err(self.aborted().await?),
                other => Err(unexpected(other, "a value")),
            };
            self.depth -= 1;
            value
        }
        .boxed()
    }

    /// The sender could not go on, and says why.
    async fn aborted(&mut self) -> Read<Failure> {
        self.reset();
        let tag = self.u8().await?;
        let thrown = self.content(tag).await?;
        Ok(Failure::Aborted(Thrown::of(&self.graph, thrown)))
    }

    async fn object(&mut self) -> Read<Value> {
        let Some(class) = self.class_desc().await? else {
            return Err(Failure::garbled("an object has no class"));
        };
        let place = self.place()?;
        let mut levels = Vec::new();
        for class in self.ancestry(class)? {
            self.spend(1)?;
            if let Some(level) = self.level(class).await? {
                levels.push(level);
            }
        }
        self.graph.fill(place, Node::Object { class, levels });
        Ok(Value::Object(place))
    }

    /// What one class of an object wrote.
    async fn level(&mut self, class: usize) -> Read<Option<Level>> {
        let Some(known) = self.graph.class(class) else {
            return Err(Failure::garbled("a class is used before it is described"));
        };
        let flags = known.flags;
        let mut level = Level {
            class,
            fields: Vec::new(),
            extras: Vec::new(),
        };
        if flags & SERIALIZABLE != 0 {
            let codes: Vec<u8> = known.fields.iter().map(|field| field.code).collect();
            for code in codes {
                let value = self.typed(code).await?;
                level.fields.push(value);
            }
            if flags & WRITE_METHOD != 0 {
                level.extras = self.extras().await?;
            }
        } else if flags & EXTERNALIZABLE != 0 {
            if flags & BLOCK_DATA == 0 {
                return Err(Failure::garbled("an object is written in a way of its own"));
            }
            level.extras = self.extras().await?;
        } else {
            return Ok(None);
        }
        Ok(Some(level))
    }

    /// Everything up to the end of a block.
    async fn extras(&mut self) -> Read<Vec<Extra>> {
        let mut extras = Vec::new();
        loop {
            let tag = self.u8().await?;
            if tag == END_BLOCK {
                return Ok(extras);
            }
            self.spend(1)?;
            match tag {
                BLOCK => {
                    let length = usize::from(self.u8().await?);
                    extras.push(Extra::Block(self.raw(length).await?));
                }
                BLOCK_LONG => {
                    let length = self.length().await?;
                    extras.push(Extra::Block(self.raw(length).await?));
                }
                RESET => self.reset(),
                tag => extras.push(Extra::Value(self.content(tag).await?)),
            }
        }
    }

    async fn array(&mut self) -> Read<Value> {
        let class = self.class_desc().await?;
        let name = class.and_then(|class| self.graph.class(class));
        let Some(&[b'[', code, ..]) = name.map(|class| class.name.as_bytes()) else {
            return Err(Failure::garbled("an array has no class of arrays"));
        };
        let place = self.place()?;
        let length = self.length().await?;
        let node = if code == b'B' {
            Node::Bytes(self.raw(length).await?)
        } else {
            self.spend(length)?;
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(self.typed(code).await?);
            }
            Node::Array(items)
        };
        self.graph.fill(place, node);
        Ok(Value::Object(place))
    }

    async fn constant(&mut self) -> Read<Value> {
        self.class_desc().await?;
        let place = self.place()?;
        let name = self.text_reference().await?;
        self.graph.fill(place, Node::Constant(name));
        Ok(Value::Object(place))
    }

    async fn class_value(&mut self) -> Read<Value> {
        self.class_desc().await?;
        let place = self.place()?;
        self.graph.fill(place, Node::Type);
        Ok(Value::Object(place))
    }

    /// A value whose type the class description gives.
    async fn typed(&mut self, code: u8) -> Read<Value> {
        self.spend(1)?;
        Ok(match code {
            b'Z' => Value::Bool(self.u8().await? != 0),
            b'B' => Value::Integer(i64::from(i8::from_be_bytes(self.fixed().await?))),
            b'S' => Value::Integer(i64::from(i16::from_be_bytes(self.fixed().await?))),
            b'I' => Value::Integer(i64::from(i32::from_be_bytes(self.fixed().await?))),
            b'J' => Value::Integer(i64::from_be_bytes(self.fixed().await?)),
            b'F' => Value::Float(f64::from(f32::from_be_bytes(self.fixed().await?))),
            b'D' => Value::Float(f64::from_be_bytes(self.fixed().await?)),
            b'C' => Value::Char(u16::from_be_bytes(self.fixed().await?)),
            b'L' | b'[' => return self.value().await,
            other => return Err(unexpected(other, "a type")),
        })
    }

    async fn reference(&mut self) -> Read<usize> {
        let handle = u32::from_be_bytes(self.fixed().await?);
        let nth = handle.checked_sub(FIRST_HANDLE).map(usize::try_from);
        let place = match nth {
            Some(Ok(nth)) => self.base + nth,
            _ => usize::MAX,
        };
        if place < self.graph.len() {
            return Ok(place);
        }
        Err(Failure::garbled(format!(
            "a reply refers to an object that it does not hold ({handle:#x})"
        )))
    }
}

fn unexpected(tag: u8, wanted: &str) -> Failure {
    Failure::garbled(format!("byte {tag:#04x} where {wanted} is expected"))
}
