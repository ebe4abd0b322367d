//! Sorted heads and pages of long tables. Both live in the address, so that a view can be kept and sent.

use std::fmt;

use askama::filters::{Html, HtmlSafe, escape};
use url::form_urlencoded::Serializer;

/// The column a table is sorted by, as it stands in the address: `name` or `-name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    path: String,
    /// What else the address asks for.
    filters: Vec<(String, String)>,
    /// The sorted column's key.
    pub key: String,
    /// Greatest first.
    pub descending: bool,
}

impl Sort {
    /// Reads the wish of an address; a key not in `known` falls back to the first.
    pub fn read(path: &str, asked: Option<&str>, known: &[&str], filters: &[(&str, &str)]) -> Self {
        let asked = asked.unwrap_or_default();
        let bare = asked.strip_prefix('-').unwrap_or(asked);
        let found = known.iter().find(|key| **key == bare);
        Self {
            path: path.to_owned(),
            filters: filters
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            key: found
                .or(known.first())
                .map_or_else(String::new, |key| (*key).to_owned()),
            descending: found.is_some() && asked.starts_with('-'),
        }
    }

    /// A head that sorts by `key`, least first at the first press.
    pub fn column(&self, key: &str, label: &str) -> Column {
        let sorted = self.key == key;
        let next = if sorted && !self.descending {
            format!("-{key}")
        } else {
            key.to_owned()
        };
        Column {
            label: label.to_owned(),
            sorted: sorted.then_some(self.descending),
            href: address(&self.path, &self.filters, &[("sort", &next)]),
            numeric: false,
        }
    }

    /// As [`Self::column`], for a column of numbers.
    pub fn number(&self, key: &str, label: &str) -> Column {
        Column {
            numeric: true,
            ..self.column(key, label)
        }
    }

    /// The wish as it stands in the address.
    pub fn word(&self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.key)
    }

    /// Puts rows in the wished order by what `field` takes from them.
    pub fn order<T, K: PartialOrd>(&self, rows: &mut [T], field: impl Fn(&T) -> K) {
        rows.sort_by(|one, other| {
            let order = field(one)
                .partial_cmp(&field(other))
                .unwrap_or(std::cmp::Ordering::Equal);
            if self.descending {
                order.reverse()
            } else {
                order
            }
        });
    }
}

/// A head of a sortable table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    label: String,
    sorted: Option<bool>,
    href: String,
    numeric: bool,
}

impl HtmlSafe for Column {}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (aria, arrow) = match self.sorted {
            None => ("", ""),
            Some(false) => (
                r#" aria-sort="ascending""#,
                r#"<span class="arrow" aria-hidden="true">▲</span>"#,
            ),
            Some(true) => (
                r#" aria-sort="descending""#,
                r#"<span class="arrow" aria-hidden="true">▼</span>"#,
            ),
        };
        write!(
            f,
            r#"<th scope="col"{}{aria}><a href="{}">{}{arrow}</a></th>"#,
            if self.numeric { r#" class="num""# } else { "" },
            escape(&self.href, Html).map_err(|_| fmt::Error)?,
            escape(&self.label, Html).map_err(|_| fmt::Error)?,
        )
    }
}

/// Which rows of how many are shown, with the way to the rows before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pager {
    /// The first row shown, from zero.
    pub first: usize,
    /// One past the last row shown.
    pub end: usize,
    /// All rows.
    pub total: usize,
    /// The rows before.
    pub previous: Option<String>,
    /// The rows after.
    pub next: Option<String>,
}

impl Pager {
    /// Rows on one page.
    pub const ROWS: usize = 50;

    /// The page `asked` (from one) of `total` rows; one out of range becomes the nearest.
    pub fn cut(path: &str, asked: Option<usize>, total: usize, filters: &[(&str, &str)]) -> Self {
        let pages = total.div_ceil(Self::ROWS).max(1);
        let page = asked.unwrap_or(1).clamp(1, pages);
        let owned: Vec<_> = filters
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let link = |page: usize| address(path, &owned, &[("page", &page.to_string())]);
        Self {
            first: (page - 1) * Self::ROWS,
            end: (page * Self::ROWS).min(total),
            total,
            previous: (page > 1).then(|| link(page - 1)),
            next: (page < pages).then(|| link(page + 1)),
        }
    }

    /// The rows of this page.
    pub fn take<T>(&self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip(self.first).take(Self::ROWS).collect()
    }

    /// `51 to 100 of 230`.
    pub fn sentence(&self) -> String {
        if self.total == 0 {
            return "none".to_owned();
        }
        format!("{} to {} of {}", self.first + 1, self.end, self.total)
    }

    /// Whether there is more than one page.
    pub fn is_needed(&self) -> bool {
        self.previous.is_some() || self.next.is_some()
    }
}

/// An address with its query.
pub fn address(path: &str, filters: &[(String, String)], more: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in filters {
        query.append_pair(name, value);
    }
    for (name, value) in more {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressing_a_head_twice_turns_the_order_round() {
        let sort = Sort::read("/nodes", None, &["name", "age"], &[("q", "web 1")]);
        let head = sort.column("name", "Name").to_string();
        assert!(head.contains(r#"aria-sort="ascending""#), "{head}");
        assert!(head.contains("/nodes?q=web+1&#38;sort=-name"), "{head}");
        let sort = Sort::read("/nodes", Some("-name"), &["name", "age"], &[]);
        let head = sort.column("name", "Name").to_string();
        assert!(head.contains(r#"aria-sort="descending""#), "{head}");
        assert!(head.contains("sort=name"), "{head}");
        assert_eq!(sort.word(), "-name");
    }

    #[test]
    fn an_unknown_column_falls_back_to_the_first() {
        let sort = Sort::read("/x", Some("-drop table"), &["name"], &[]);
        assert_eq!((sort.key.as_str(), sort.descending), ("name", false));
    }

    #[test]
    fn rows_come_in_the_wished_order() {
        let mut rows = [2.0, f64::NAN, 1.0];
        Sort::read("/", Some("-v"), &["v"], &[]).order(&mut rows, |row| *row);
        assert_eq!(rows.len(), 3);
        let mut rows = [2, 3, 1];
        Sort::read("/", Some("-v"), &["v"], &[]).order(&mut rows, |row| *row);
        assert_eq!(rows, [3, 2, 1]);
    }

    #[test]
    fn pages_are_cut_and_linked() {
        let pager = Pager::cut("/nodes", Some(2), 120, &[("q", ""), ("sort", "name")]);
        assert_eq!(pager.sentence(), "51 to 100 of 120");
        assert_eq!(pager.previous.as_deref(), Some("/nodes?sort=name&page=1"));
        assert_eq!(pager.next.as_deref(), Some("/nodes?sort=name&page=3"));
        assert_eq!(pager.take((0..120).collect::<Vec<_>>())[0], 50);
    }

    #[test]
    fn a_page_out_of_range_becomes_the_nearest() {
        assert_eq!(
            Pager::cut("/", Some(99), 60, &[]).sentence(),
            "51 to 60 of 60"
        );
        assert_eq!(
            Pager::cut("/", Some(0), 60, &[]).sentence(),
            "1 to 50 of 60"
        );
        let empty = Pager::cut("/", None, 0, &[]);
        assert_eq!(empty.sentence(), "none");
        assert!(!empty.is_needed());
    }
}
