//! From what a JVM sent to what an attribute holds.

use super::datum::Datum;
use super::graph::{Extra, Graph, Value};

/// Members within members.
const MAX_DEPTH: usize = 16;
/// Members in all: what was sent once may be referred to many times.
const MAX_MEMBERS: usize = 16 * 1024;

/// Converts a value; what is too deep or too much is told by its class alone.
pub fn datum(graph: &Graph, value: Value) -> Datum {
    let mut left = MAX_MEMBERS;
    convert(graph, value, 0, &mut left)
}

fn convert(graph: &Graph, value: Value, depth: usize, left: &mut usize) -> Datum {
    match value {
        Value::Null => Datum::Null,
        Value::Bool(yes) => Datum::Bool(yes),
        Value::Integer(number) => Datum::Integer(number),
        Value::Float(number) => Datum::Float(number),
        Value::Char(unit) => Datum::Text(String::from_utf16_lossy(&[unit])),
        Value::Object(_) => object(graph, value, depth, left),
    }
}

fn object(graph: &Graph, value: Value, depth: usize, left: &mut usize) -> Datum {
    if let Some(text) = graph.text(value) {
        return Datum::Text(text.to_owned());
    }
    if let Some(items) = graph.array(value) {
        return Datum::List(items.len());
    }
    if let Some(bytes) = graph.bytes(value) {
        return Datum::List(bytes.len());
    }
    let class = graph.class_name(value).unwrap_or("an unknown class");
    let field = |name| graph.field(value, name).unwrap_or(Value::Null);
    match class {
        "java.lang.Integer"
        | "java.lang.Long"
        | "java.lang.Short"
        | "java.lang.Byte"
        | "java.lang.Double"
        | "java.lang.Float"
        | "java.lang.Boolean"
        | "java.lang.Character"
        | "java.util.concurrent.atomic.AtomicInteger"
        | "java.util.concurrent.atomic.AtomicLong" => plain(graph, field("value"), class),
        "java.util.concurrent.atomic.AtomicBoolean" => match field("value") {
            Value::Integer(number) => Datum::Bool(number != 0),
            _ => Datum::Other(class.to_owned()),
        },
        "java.math.BigInteger" => big_integer(graph, value).unwrap_or(Datum::Other(class.into())),
        "java.math.BigDecimal" => big_decimal(graph, value).unwrap_or(Datum::Other(class.into())),
        "javax.management.ObjectName" => {
            let name = graph.items(value).find_map(|item| graph.text(item));
            Datum::Text(name.unwrap_or_default().to_owned())
        }
        "java.util.Date" => match graph.extras(value, class) {
            [Extra::Block(bytes)] => date(bytes).unwrap_or(Datum::Other(class.into())),
            _ => Datum::Other(class.into()),
        },
        _ => container(graph, value, class, depth, left),
    }
}

/// A boxed value; anything but a plain one is not believed.
fn plain(graph: &Graph, value: Value, class: &str) -> Datum {
    match value {
        Value::Null | Value::Object(_) => Datum::Other(class.to_owned()),
        value => convert(graph, value, 0, &mut 0),
    }
}

fn container(graph: &Graph, value: Value, class: &str, depth: usize, left: &mut usize) -> Datum {
    let other = || Datum::Other(class.to_owned());
    if depth >= MAX_DEPTH {
        return other();
    }
    let map = if graph.is_a(value, "javax.management.openmbean.CompositeDataSupport") {
        graph.field(value, "contents")
    } else if graph.is_a(value, "javax.management.openmbean.TabularDataSupport") {
        return table(graph, value, depth, left).unwrap_or_else(other);
    } else if is_map(graph, value) {
        Some(value)
    } else if graph.is_a(value, "java.util.ArrayList")
        || graph.is_a(value, "java.util.HashSet")
        || graph.is_a(value, "java.util.LinkedList")
    {
        return Datum::List(graph.items(value).count());
    } else {
        None
    };
    map.and_then(|map| members(graph, map, depth, left, key_text))
        .unwrap_or_else(other)
}

fn is_map(graph: &Graph, value: Value) -> bool {
    [
        "java.util.TreeMap",
        "java.util.HashMap",
        "java.util.Hashtable",
    ]
    .iter()
    .any(|class| graph.is_a(value, class))
}

type Name = fn(&Graph, Value) -> Option<String>;

/// The entries of a map: keys and values by turns.
fn members(graph: &Graph, map: Value, depth: usize, left: &mut usize, name: Name) -> Option<Datum> {
    let mut members = Vec::new();
    let mut items = graph.items(map);
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        *left = left.checked_sub(1)?;
        members.push((name(graph, key)?, convert(graph, value, depth + 1, left)));
    }
    Some(Datum::Members(members))
}

/// A table's rows by their index: its values, joined with commas. A table of keys and values is the map that it was made from.
fn table(graph: &Graph, value: Value, depth: usize, left: &mut usize) -> Option<Datum> {
    let rows = graph.field(value, "dataMap")?;
    let Datum::Members(mut rows) = members(graph, rows, depth, left, index_text)? else {
        return None;
    };
    for (_, row) in &mut rows {
        if let Datum::Members(columns) = row
            && let [(key, _), (name, value)] = columns.as_mut_slice()
            && (key.as_str(), name.as_str()) == ("key", "value")
        {
            *row = std::mem::replace(value, Datum::Null);
        }
    }
    Some(Datum::Members(rows))
}

fn index_text(graph: &Graph, key: Value) -> Option<String> {
    // A list that may not be changed, around one that `Arrays.asList` made, or around any other.
    let list = graph.field(key, "list").unwrap_or(key);
    let array = graph.field(list, "a").and_then(|array| graph.array(array));
    let parts: Vec<Value> = match array {
        Some(array) => array.to_vec(),
        None => graph.items(list).collect(),
    };
    let parts: Option<Vec<String>> = parts.iter().map(|part| key_text(graph, *part)).collect();
    Some(parts?.join(","))
}

fn key_text(graph: &Graph, key: Value) -> Option<String> {
    match convert(graph, key, MAX_DEPTH, &mut 0) {
        Datum::Text(text) => Some(text),
        Datum::Integer(number) => Some(number.to_string()),
        Datum::Float(number) => Some(number.to_string()),
        Datum::Bool(yes) => Some(yes.to_string()),
        Datum::Null => Some("null".into()),
        Datum::Members(_) | Datum::List(_) | Datum::Other(_) => None,
    }
}

fn big_integer(graph: &Graph, value: Value) -> Option<Datum> {
    let magnitude = graph.bytes(graph.field(value, "magnitude")?)?;
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
