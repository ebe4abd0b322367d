//! The pages, as people of each role meet them: with and without scripting, quiet and in trouble.

mod buttons;
mod chromium;
#[cfg(feature = "aws")]
mod instances;
mod read_now;
mod reading;
mod scene;
mod stopped;
mod times;
mod walk;
