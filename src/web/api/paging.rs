//! Lists in pieces: `limit` items, and a cursor for the next ones.

use serde::Serialize;

use crate::error::{Error, Result};

/// How many items come when nobody says.
const DEFAULT_LIMIT: i64 = 100;
/// How many items come at most.
const MAX_LIMIT: i64 = 1_000;

/// A piece of a list.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `cursor` for the next ones; null after the last.
    pub next: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    limit: i64,
    cursor: Option<String>,
}

impl Wanted {
    /// Reads the two parameters of a query.
    ///
    /// # Errors
    /// `Invalid` when the limit is out of bounds.
    pub fn new(limit: Option<i64>, cursor: Option<String>) -> Result<Self> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let message = format!("must be a number from 1 to {MAX_LIMIT}");
            return Err(Error::invalid("limit", message));
        }
        Ok(Self { limit, cursor })
    }

    /// Items to ask the database for: one more than wanted tells whether more follow.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The id to go on before, in a list whose newest comes first.
    ///
    /// # Errors
    /// `Invalid` when the cursor is none of ours.
    pub fn before_id(&self) -> Result<Option<i64>> {
        let parsed = self.cursor.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| {
            Error::invalid(
                "cursor",
                "is not one that a list gave as \"next\"; leave it out to begin anew",
            )
        })
    }

    /// Makes a page of `rows()` rows; `cursor` tells where one stands.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        cursor: impl Fn(&R) -> String,
        item: impl Fn(R) -> Result<T>,
    ) -> Result<Page<T>> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(cursor);
        let items = rows.into_iter().map(item).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    /// Makes a page of a whole list that is sorted by its names.
    pub fn page_by_name<R>(
        &self,
        mut rows: Vec<R>,
        name: impl Fn(&R) -> String,
    ) -> Result<Page<R>> {
        if let Some(after) = &self.cursor {
            rows.retain(|row| name(row) > *after);
        }
        self.page(rows, name, Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(limit: i64, cursor: Option<&str>) -> Wanted {
        Wanted::new(Some(limit), cursor.map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_list_is_walked_to_its_end_without_a_gap_or_a_double() {
        let all = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let mut seen = Vec::new();
        let mut cursor = None;
        for _ in 0..3 {
            let page = wanted(2, cursor.as_deref())
                .page_by_name(all.clone(), String::clone)
                .unwrap();
            seen.extend(page.items);
            cursor = page.next;
        }
        assert_eq!(seen, all);
        assert_eq!(cursor, None);
    }

    #[test]
    fn a_page_that_holds_the_last_item_has_no_next() {
        let rows = || vec![3, 2, 1];
        let id = |id: &i64| id.to_string();
        assert_eq!(wanted(3, None).page(rows(), id, Ok).unwrap().next, None);
        let page = wanted(2, None).page(rows(), id, Ok).unwrap();
        assert_eq!(page.items, [3, 2]);
        assert_eq!(page.next.as_deref(), Some("2"));
    }

    #[test]
    fn limits_and_cursors_that_make_no_sense_are_refused() {
        for limit in [0, -1, 1_001] {
            let refusal = Wanted::new(Some(limit), None).unwrap_err().to_string();
            assert_eq!(refusal, "limit: must be a number from 1 to 1000");
        }
        let refusal = wanted(1, Some("x")).before_id().unwrap_err().to_string();
        assert!(refusal.starts_with("cursor: is not one that a list gave"));
        assert_eq!(wanted(1, Some("7")).before_id().unwrap(), Some(7));
    }
}
