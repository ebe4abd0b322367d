//! What a Java serialisation stream held: objects in an arena, told apart by the order in which they came.
//!
//! No Java class is ever built. A value is small and points into the arena, so that cycles and sharing cost nothing and dropping never
//! recurses.

/// A value, or where its object lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `byte`, `short`, `int` or `long`.
    Integer(i64),
    /// `float` or `double`.
    Float(f64),
    /// `char`, one UTF-16 unit.
    Char(u16),
    /// An object, by its place in the arena.
    Object(usize),
}

/// A field of a class: its type code and name.
#[derive(Debug)]
pub struct Field {
    pub(super) code: u8,
    pub(super) name: Box<str>,
}

/// A class as the stream describes it.
#[derive(Debug)]
pub struct Class {
    pub(super) name: Box<str>,
    pub(super) flags: u8,
    pub(super) fields: Box<[Field]>,
    pub(super) parent: Option<usize>,
}

/// What the `writeObject` of a class added to its fields.
#[derive(Debug)]
pub enum Extra {
    /// Bare bytes.
    Block(Vec<u8>),
    /// An object.
    Value(Value),
}

/// What one class of an object's line of classes wrote.
#[derive(Debug)]
pub struct Level {
    pub(super) class: usize,
    pub(super) fields: Vec<Value>,
    pub(super) extras: Vec<Extra>,
}

/// One thing in the arena.
#[derive(Debug)]
pub enum Node {
    /// Announced and not read to its end, as in a cycle.
    Pending,
    /// A description of a class; a proxy's has no name.
    Class(Class),
    /// A string.
    Text(Box<str>),
    /// An object, its topmost class first.
    Object {
        /// Its class.
        class: usize,
        /// By class.
        levels: Vec<Level>,
    },
    /// An array of anything but bytes.
    Array(Vec<Value>),
    /// An array of bytes.
    Bytes(Vec<u8>),
    /// A constant of an enum: where its name lies.
    Constant(usize),
    /// A class as a value: which one, nobody asks.
    Type,
}

/// All that one reply held.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// Keeps a place, to be filled once the object is read.
    pub(super) fn reserve(&mut self) -> usize {
        self.nodes.push(Node::Pending);
        self.nodes.len() - 1
    }

    pub(super) fn fill(&mut self, place: usize, node: Node) {
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = node;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The thing at a place.
    pub fn node(&self, place: usize) -> Option<&Node> {
        self.nodes.get(place)
    }

    pub(super) fn class(&self, place: usize) -> Option<&Class> {
        match self.nodes.get(place) {
            Some(Node::Class(class)) => Some(class),
            _ => None,
        }
    }

    pub(super) fn class_mut(&mut self, place: usize) -> Option<&mut Class> {
        match self.nodes.get_mut(place) {
            Some(Node::Class(class)) => Some(class),
            _ => None,
        }
    }

    fn of(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Object(place) => self.nodes.get(place),
            _ => None,
        }
    }

    /// A string's text, or an enum constant's name.
    pub fn text(&self, value: Value) -> Option<&str> {
        match self.of(value)? {
            Node::Text(text) => Some(text),
            Node::Constant(name) => match self.nodes.get(*name)? {
                Node::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name of an object's class.
    pub fn class_name(&self, value: Value) -> Option<&str> {
        match self.of(value)? {
            Node::Object { class, .. } => Some(&self.class(*class)?.name),
            Node::Text(_) => Some("java.lang.String"),
            _ => None,
        }
    }

    /// Whether an object's class is this one, or comes from it.
    pub fn is_a(&self, value: Value, name: &str) -> bool {
        self.levels(value)
            .iter()
            .any(|level| self.is_level(level, name))
            || self.class_name(value) == Some(name)
    }

    fn is_level(&self, level: &Level, name: &str) -> bool {
        self.class(level.class).is_some_and(|it| &*it.name == name)
    }

    fn levels(&self, value: Value) -> &[Level] {
        match self.of(value) {
            Some(Node::Object { levels, .. }) => levels,
            _ => &[],
        }
    }

    /// An object's field, that of the most special class first.
    pub fn field(&self, value: Value, name: &str) -> Option<Value> {
        self.levels(value).iter().rev().find_map(|level| {
            let class = self.class(level.class)?;
            let at = class.fields.iter().position(|field| &*field.name == name)?;
            level.fields.get(at).copied()
        })
    }

    /// The objects that an object's classes wrote beside their fields: the items of a collection, keys and values of a map.
    pub fn items(&self, value: Value) -> impl Iterator<Item = Value> {
        let extras = self.levels(value).iter().flat_map(|level| &level.extras);
        extras.filter_map(|extra| match extra {
            Extra::Value(value) => Some(*value),
            Extra::Block(_) => None,
        })
    }

    /// What one class of an object wrote beside its fields.
    pub fn extras(&self, value: Value, class: &str) -> &[Extra] {
        let levels = self.levels(value);
        let level = levels.iter().find(|level| self.is_level(level, class));
        level.map_or(&[], |level| &level.extras)
    }

    /// The items of an array of objects or numbers.
    pub fn array(&self, value: Value) -> Option<&[Value]> {
        match self.of(value)? {
            Node::Array(items) => Some(items),
            _ => None,
        }
    }

    /// An array of bytes.
    pub fn bytes(&self, value: Value) -> Option<&[u8]> {
        match self.of(value)? {
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}
