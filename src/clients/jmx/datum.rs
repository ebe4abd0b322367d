//! An attribute's value, however it came: what is inside it, and the number it is read as.

use std::fmt;

use super::failure::clipped;

/// Members named in a message.
const NAMED: usize = 12;

/// The value of an attribute, or of a member of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// `null`.
    Null,
    /// A boolean, read as 0 or 1.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string, or an enum constant's name.
    Text(String),
    /// Members by name: composite data, tabular data by its index, a map.
    Members(Vec<(String, Datum)>),
    /// An array or a collection: how many items.
    List(usize),
    /// Something else, by its class.
    Other(String),
}

impl Datum {
    /// A member, nested with dots. A member whose own name has dots in it is found too.
    ///
    /// # Errors
    /// There is none of that name; the message says which there are.
    pub fn member(&self, path: &str) -> Result<&Self, String> {
        let mut at = self;
        let mut rest = path;
        loop {
            let Self::Members(members) = at else {
                return Err(format!("has no \"{rest}\": it is {at}"));
            };
            let longest = members
                .iter()
                .filter_map(|(name, member)| {
                    let after = rest.strip_prefix(name.as_str())?;
                    let ends = after.is_empty() || after.starts_with('.');
                    ends.then_some((name.len(), member, after))
                })
                .max_by_key(|(length, ..)| *length);
            let Some((_, member, after)) = longest else {
                return Err(format!("has no \"{rest}\": it has {}", names(members)));
            };
            match after.strip_prefix('.') {
                None => return Ok(member),
                Some(after) => {
                    at = member;
                    rest = after;
                }
            }
        }
    }

    /// The number it is read as.
    ///
    /// # Errors
    /// It is none that can be held against a threshold; the message says what it is.
    pub fn number(&self) -> Result<f64, String> {
        let value = match self {
            Self::Bool(yes) => f64::from(u8::from(*yes)),
            #[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
            Self::Integer(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Text(text) => match text.trim().parse() {
                Ok(value) => value,
                Err(_) => return Err(format!("is {self}; a number is needed")),
            },
            Self::Members(members) => {
                let names = names(members);
                return Err(format!(
                    "is {self}; name one of its members as key: {names}"
                ));
            }
            Self::Null | Self::List(_) | Self::Other(_) => {
                return Err(format!("is {self}; a number is needed"));
            }
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(format!(
                "is {value}, which cannot be compared with a threshold"
            ))
        }
    }

    /// The members, where it has such.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Members(members) => members,
            _ => &[],
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "the text {:?}", clipped(text)),
            Self::Members(members) if members.len() == 1 => f.write_str("a composite of 1 member"),
            Self::Members(members) => write!(f, "a composite of {} members", members.len()),
            Self::List(1) => f.write_str("a list of 1"),
            Self::List(length) => write!(f, "a list of {length}"),
            Self::Other(class) => write!(f, "an object of {class}"),
        }
    }
}

fn names(members: &[(String, Datum)]) -> String {
    let mut names: Vec<&str> = members
        .iter()
        .take(NAMED)
        .map(|(name, _)| name.as_str())
        .collect();
    if members.len() > NAMED {
        names.push("…");
    }
    if names.is_empty() {
        return "no member".into();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composite() -> Datum {
        let used = vec![
            ("used".into(), Datum::Integer(42)),
            ("max".into(), Datum::Integer(-1)),
        ];
        Datum::Members(vec![
            ("heap".into(), Datum::Members(used)),
            ("heap.used".into(), Datum::Integer(7)),
            ("Eden Space".into(), Datum::Float(0.5)),
        ])
    }

    #[test]
    fn a_member_is_found_by_its_dotted_path() {
        let data = composite();
        assert_eq!(data.member("heap.max"), Ok(&Datum::Integer(-1)));
        assert_eq!(data.member("Eden Space"), Ok(&Datum::Float(0.5)));
        assert_eq!(
            data.member("heap.used"),
            Ok(&Datum::Integer(7)),
            "a name with a dot in it comes before a path"
        );
    }

    #[test]
    fn a_missing_member_is_told_with_those_that_are_there() {
        let data = composite();
        assert_eq!(
            data.member("heap.free").unwrap_err(),
            "has no \"free\": it has used, max"
        );
        assert_eq!(
            data.member("heap.max.x").unwrap_err(),
            "has no \"x\": it is -1"
        );
        assert_eq!(
            data.member("hea").unwrap_err(),
            "has no \"hea\": it has heap, heap.used, Eden Space"
        );
    }

    #[test]
    fn numbers_booleans_and_numeric_text_are_numbers() {
        let cases = [
            (Datum::Bool(true), 1.0),
            (Datum::Bool(false), 0.0),
            (Datum::Integer(-7), -7.0),
            (Datum::Float(0.25), 0.25),
            (Datum::Text(" 1e3\n".into()), 1000.0),
        ];
        for (datum, number) in cases {
            assert_eq!(datum.number(), Ok(number), "{datum:?}");
        }
    }

    #[test]
    fn everything_else_is_an_error_that_says_what_it_is() {
        let cases = [
            (Datum::Null, "is null; a number is needed"),
            (
                Datum::Text("up".into()),
                "is the text \"up\"; a number is needed",
            ),
            (Datum::List(3), "is a list of 3; a number is needed"),
            (
                Datum::Other("java.util.Locale".into()),
                "is an object of java.util.Locale; a number is needed",
            ),
            (
                Datum::Float(f64::NAN),
                "is NaN, which cannot be compared with a threshold",
            ),
            (
                Datum::Text("1e999".into()),
                "is inf, which cannot be compared with a threshold",
            ),
            (
                composite(),
                "is a composite of 3 members; name one of its members as key: heap, heap.used, Eden Space",
            ),
        ];
        for (datum, why) in cases {
            assert_eq!(datum.number(), Err(why.into()), "{datum:?}");
        }
    }
}
