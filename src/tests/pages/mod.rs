//! The pages, as people of each role meet them: with and without scripting, quiet and in trouble.

mod buttons;
mod chromium;
mod read_now;
mod reading;
mod scene;
mod stopped;
mod walk;
