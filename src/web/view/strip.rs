//! A cluster at a glance: one cell per node, in the colour and shape of its status.

use std::fmt;

use askama::filters::{Html, HtmlSafe, escape};

use crate::web::view::Status;

/// More cells than this are summed up in words.
const MOST: usize = 120;
/// Cells in a row.
const ROW: usize = 40;
/// From one cell to the next.
const PITCH: usize = 10;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: Status,
}

/// The nodes of a cluster, worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip(Vec<Cell>);

impl Strip {
    /// A strip of some nodes in any order.
    pub fn new(mut cells: Vec<Cell>) -> Self {
        cells.sort_by(|one, other| {
            other
                .status
                .cmp(&one.status)
                .then_with(|| one.name.cmp(&other.name))
        });
        Self(cells)
    }

    /// How many stand how, in words, the worst first: `2 firing, 18 ok`.
    pub fn sentence(&self) -> String {
        if self.0.is_empty() {
            return "no nodes".to_owned();
        }
        let mut parts = Vec::new();
        for status in Status::ALL.into_iter().rev() {
            let count = self.0.iter().filter(|cell| cell.status == status).count();
            if count > 0 {
                parts.push(format!("{count} {}", status.word()));
            }
        }
        parts.join(", ")
    }
}

impl HtmlSafe for Strip {}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(MOST);
        if shown > 0 {
            let width = shown.min(ROW) * PITCH;
            let height = shown.div_ceil(ROW) * PITCH;
            write!(
                f,
                r#"<svg class="strip" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#,
                self.sentence()
            )?;
            for (index, cell) in self.0.iter().take(MOST).enumerate() {
                let (x, y) = (index % ROW * PITCH, index / ROW * PITCH);
                write!(
                    f,
                    r#"<rect class="fill-{}" x="{x}" y="{y}" width="8" height="8" rx="2"><title>{}: {}</title></rect>"#,
                    cell.status.class(),
                    escape(&cell.name, Html).map_err(|_| fmt::Error)?,
                    cell.status.word(),
                )?;
            }
            f.write_str("</svg>")?;
        }
        write!(f, r#"<span class="strip-words">{}</span>"#, self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, status: Status) -> Cell {
        Cell {
            name: name.to_owned(),
            status,
        }
    }

    #[test]
    fn the_worst_come_first_and_the_words_say_how_many() {
        let strip = Strip::new(vec![
            cell("web01", Status::Ok),
            cell("web02", Status::NoData),
            cell("web03", Status::Ok),
            cell("web04", Status::Firing),
        ]);
        assert_eq!(strip.sentence(), "1 firing, 1 no data, 2 ok");
        let drawn = strip.to_string();
        assert!(drawn.find("web04") < drawn.find("web02"), "{drawn}");
        assert!(drawn.find("web02") < drawn.find("web01"), "{drawn}");
    }

    #[test]
    fn an_empty_cluster_is_said_and_not_drawn() {
        let drawn = Strip::new(Vec::new()).to_string();
        assert!(
            drawn.contains("no nodes") && !drawn.contains("<svg"),
            "{drawn}"
        );
    }

    #[test]
    fn a_large_cluster_draws_the_worst_and_counts_all() {
        let mut cells = vec![cell("z-last", Status::Firing)];
        cells.extend((0..999).map(|index| cell(&format!("web{index}"), Status::Ok)));
        let strip = Strip::new(cells);
        let drawn = strip.to_string();
        assert_eq!(drawn.matches("<rect").count(), MOST);
        assert!(drawn.contains("z-last"), "{drawn}");
        assert_eq!(strip.sentence(), "1 firing, 999 ok");
    }
}
