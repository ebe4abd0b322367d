//! From what a JVM sent to what an attribute holds.

use super::allowance::Allowance;
use super::datum::Datum;
use super::failure::Failure;
use super::graph::{Extra, Graph, Value};
use super::stream::Limits;

/// Members within members.
const MAX_DEPTH: usize = 16;
/// Bytes of a whole number; one of more is beyond every double.
const MAX_MAGNITUDE: usize = 128;

/// Converts the values of one reply, which share what they may come to.
pub struct Converter<'a> {
    graph: &'a Graph,
    left: Allowance,
}

impl<'a> Converter<'a> {
    /// For a reply that was read within these bounds.
    pub fn new(graph: &'a Graph, limits: Limits) -> Self {
        Self {
            graph,
            left: Allowance::of(limits),
        }
    }

    /// Converts a value; what is too deep is told by its class alone.
    ///
    /// # Errors
    /// The values of the reply come to more than it may hold itself.
    pub fn datum(&mut self, value: Value) -> Result<Datum, Failure> {
        self.convert(value, 0)
    }

    fn convert(&mut self, value: Value, depth: usize) -> Result<Datum, Failure> {
        match value {
            Value::Object(_) => self.object(value, depth),
            value => Ok(plain(value).unwrap_or(Datum::Null)),
        }
    }

    fn object(&mut self, value: Value, depth: usize) -> Result<Datum, Failure> {
        let graph = self.graph;
        if let Some(text) = graph.text(value) {
            return self.left.text(text).map(Datum::Text);
        }
        if let Some(items) = graph.array(value) {
            return Ok(Datum::List(items.len()));
        }
        if let Some(bytes) = graph.bytes(value) {
            return Ok(Datum::List(bytes.len()));
        }
        let class = graph.class_name(value).unwrap_or("an unknown class");
        let field = |name| graph.field(value, name).unwrap_or(Value::Null);
        let known = match class {
            "java.lang.Integer"
            | "java.lang.Long"
            | "java.lang.Short"
            | "java.lang.Byte"
            | "java.lang.Double"
            | "java.lang.Float"
            | "java.lang.Boolean"
            | "java.lang.Character"
            | "java.util.concurrent.atomic.AtomicInteger"
            | "java.util.concurrent.atomic.AtomicLong" => plain(field("value")),
            "java.util.concurrent.atomic.AtomicBoolean" => match field("value") {
                Value::Integer(number) => Some(Datum::Bool(number != 0)),
                _ => None,
            },
            "java.math.BigInteger" => big_integer(graph, value),
            "java.math.BigDecimal" => big_decimal(graph, value),
            "javax.management.ObjectName" => {
                let name = object_name(graph, value).unwrap_or_default();
                Some(Datum::Text(self.left.text(name)?))
            }
            "java.util.Date" => match graph.extras(value, class) {
                [Extra::Block(bytes)] => date(bytes),
                _ => None,
            },
            _ => self.container(value, depth)?,
        };
        match known {
            Some(datum) => Ok(datum),
            None => self.left.text(class).map(Datum::Other),
        }
    }

    fn container(&mut self, value: Value, depth: usize) -> Result<Option<Datum>, Failure> {
        if depth >= MAX_DEPTH {
            return Ok(None);
        }
        let graph = self.graph;
        let is_a = |class| graph.is_a(value, class);
        if is_a("javax.management.openmbean.CompositeDataSupport") {
            let Some(map) = graph.field(value, "contents") else {
                return Ok(None);
            };
            return self.members(map, depth, Self::key_text);
        }
        if is_a("javax.management.openmbean.TabularDataSupport") {
            return self.table(value, depth);
        }
        let maps = [
            "java.util.TreeMap",
            "java.util.HashMap",
            "java.util.Hashtable",
        ];
        if maps.into_iter().any(is_a) {
            return self.members(value, depth, Self::key_text);
        }
        let lists = [
            "java.util.ArrayList",
            "java.util.HashSet",
            "java.util.LinkedList",
        ];
        if lists.into_iter().any(is_a) {
            let count = graph.items(value).count();
            self.left.items(count)?;
            return Ok(Some(Datum::List(count)));
        }
        Ok(None)
    }

    /// The entries of a map: keys and values by turns.
    fn members(
        &mut self,
        map: Value,
        depth: usize,
        name: Name<'a>,
    ) -> Result<Option<Datum>, Failure> {
        let mut members = Vec::new();
        let mut items = self.graph.items(map);
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            self.left.items(1)?;
            let Some(name) = name(self, key)? else {
                return Ok(None);
            };
            members.push((name, self.convert(value, depth + 1)?));
        }
        Ok(Some(Datum::Members(members)))
    }

    /// A table's rows by their index: its values, joined with commas. A table of keys and values is the map that it was made from.
    fn table(&mut self, value: Value, depth: usize) -> Result<Option<Datum>, Failure> {
        let Some(rows) = self.graph.field(value, "dataMap") else {
            return Ok(None);
        };
        let rows = self.members(rows, depth, Self::index_text)?;
        let Some(Datum::Members(mut rows)) = rows else {
            return Ok(None);
        };
        for (_, row) in &mut rows {
            if let Datum::Members(columns) = row
                && let [(key, _), (name, value)] = columns.as_mut_slice()
                && (key.as_str(), name.as_str()) == ("key", "value")
            {
                *row = std::mem::replace(value, Datum::Null);
            }
        }
        Ok(Some(Datum::Members(rows)))
    }

    fn index_text(&mut self, key: Value) -> Result<Option<String>, Failure> {
        let graph = self.graph;
        // A list that may not be changed, around one that `Arrays.asList` made, or around any other.
        let list = graph.field(key, "list").unwrap_or(key);
        let array = graph.field(list, "a").and_then(|array| graph.array(array));
        let parts: Vec<Value> = match array {
            Some(array) => array.to_vec(),
            None => graph.items(list).collect(),
        };
        self.left.items(parts.len())?;
        let mut texts = Vec::new();
        for part in parts {
            let Some(text) = self.key_text(part)? else {
                return Ok(None);
            };
            texts.push(text);
        }
        Ok(Some(texts.join(",")))
    }

    fn key_text(&mut self, key: Value) -> Result<Option<String>, Failure> {
        let text = match self.convert(key, MAX_DEPTH)? {
            Datum::Text(text) => return Ok(Some(text)),
            Datum::Integer(number) => number.to_string(),
            Datum::Float(number) => number.to_string(),
            Datum::Bool(yes) => yes.to_string(),
            Datum::Null => "null".into(),
            Datum::Members(_) | Datum::List(_) | Datum::Other(_) => return Ok(None),
        };
        self.left.whole(&text).map(Some)
    }
}

/// How the key of an entry is written.
type Name<'a> = fn(&mut Converter<'a>, Value) -> Result<Option<String>, Failure>;

/// The name in an `ObjectName`.
pub(super) fn object_name(graph: &Graph, value: Value) -> Option<&str> {
    if graph.class_name(value) != Some("javax.management.ObjectName") {
        return None;
    }
    graph.items(value).find_map(|item| graph.text(item))
}

/// A value that is no object, as it also stands in a box; anything else in there is not believed.
fn plain(value: Value) -> Option<Datum> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::Bool(yes) => Some(Datum::Bool(yes)),
        Value::Integer(number) => Some(Datum::Integer(number)),
        Value::Float(number) => Some(Datum::Float(number)),
        Value::Char(unit) => Some(Datum::Text(String::from_utf16_lossy(&[unit]))),
    }
}

fn big_integer(graph: &Graph, value: Value) -> Option<Datum> {
    let magnitude = graph.bytes(graph.field(value, "magnitude")?)?;
    if magnitude.len() > MAX_MAGNITUDE {
        return None;
    }
    let size = magnitude
        .iter()
        .fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    match graph.field(value, "signum")? {
        Value::Integer(-1) => Some(Datum::Float(-size)),
        Value::Integer(_) => Some(Datum::Float(size)),
        _ => None,
    }
}

fn big_decimal(graph: &Graph, value: Value) -> Option<Datum> {
    let Datum::Float(unscaled) = big_integer(graph, graph.field(value, "intVal")?)? else {
        return None;
    };
    let Value::Integer(scale) = graph.field(value, "scale")? else {
        return None;
    };
    // By text: a power of ten of its own would be rounded twice.
    format!("{unscaled}e{}", scale.checked_neg()?)
        .parse()
        .ok()
        .map(Datum::Float)
}

/// Milliseconds since 1970.
fn date(bytes: &[u8]) -> Option<Datum> {
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    Some(Datum::Integer(i64::from_be_bytes(bytes)))
}
