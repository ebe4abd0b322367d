//! How commands print: tables for people, JSON for scripts.

use serde::Serialize;

use crate::error::{Error, Result};

/// Prints a value as JSON.
///
/// # Errors
/// The value cannot be written as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|cause| Error::internal("could not write JSON", cause))?;
    println!("{text}");
    Ok(())
}

/// Prints rows under headings, columns as wide as their widest cell; says so when there are none.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], none: &str) {
    if rows.is_empty() {
        println!("{none}");
        return;
    }
    let heading: Vec<String> = headings.iter().map(|text| text.to_uppercase()).collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&heading])
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in std::iter::once(&heading).chain(rows) {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// An instant as people and scripts both read it.
pub(super) fn time(ms: i64) -> String {
    crate::models::from_ms(ms).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
