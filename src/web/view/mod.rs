//! Small things that pages are drawn with: statuses, times, numbers and pictures made on the server. Each is a value that prints itself as HTML.

mod graph;
mod number;
mod plot;
mod spark;
mod status;
mod strip;
mod table;
mod time;

pub use graph::{Graph, GraphLine, Mark};
pub use number::{bound, count, plural, tidy, value};
pub use plot::{Point, Window, breaches as breached, thin as thinned};
pub use spark::Spark;
pub use status::{Badge, Status};
pub use strip::{Cell, Strip};
pub use table::{Column, Pager, Sort, address};
pub use time::{Moment, clock, clock_secs, day_and_clock, duration, exact, iso, relative};
