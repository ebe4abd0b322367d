//! What the values of one reply may come to once they are written out: a text or a map that was sent once may be referred to many times.

use super::failure::Failure;
use super::stream::Limits;

/// How much of one text is kept; no number is as long.
const LONGEST_TEXT: usize = 1024;

/// What is left for the values of one reply, all of them together: no more than the reply itself may hold.
pub struct Allowance {
    limits: Limits,
    bytes: usize,
    items: usize,
}

impl Allowance {
    /// For a reply that was read within these bounds.
    pub(super) fn of(limits: Limits) -> Self {
        Self {
            limits,
            bytes: limits.bytes,
            items: limits.items,
        }
    }

    /// Takes members of a composite, or items that are counted.
    pub(super) fn items(&mut self, count: usize) -> Result<(), Failure> {
        let left = self.items.checked_sub(count);
        self.items = left.ok_or_else(|| {
            let most = self.limits.items;
            Failure::garbled(format!(
                "the values of a reply have more than {most} members in all"
            ))
        })?;
        Ok(())
    }

    /// A copy of a text; of a long one its beginning.
    pub(super) fn text(&mut self, text: &str) -> Result<String, Failure> {
        self.spend(text.len().min(LONGEST_TEXT))?;
        Ok(clipped(text))
    }

    /// A copy of a text, however long.
    pub(super) fn whole(&mut self, text: &str) -> Result<String, Failure> {
        self.spend(text.len())?;
        Ok(text.to_owned())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| {
            let most = self.limits.bytes / 1024;
            Failure::garbled(format!("the texts of a reply come to more than {most} KiB"))
        })?;
        Ok(())
    }
}

/// A text, or the beginning of a long one, marked so that it is never taken for a number.
pub(super) fn clipped(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let (beginning, _) = text.split_at(text.floor_char_boundary(LONGEST_TEXT));
    format!("{beginning}…")
}
