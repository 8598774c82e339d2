//! What is measured. A section is a table, a row a line of it; a new one is added here and in a file of
//! its own.

mod build;
mod graph;
mod memory;
mod parallel;
mod parse;
mod speed;
mod tracing;
mod watch;

use crate::frame::Section;

/// All sections, in the order of the page.
pub fn sections() -> Vec<Section> {
    vec![
        speed::section(),
        memory::section(),
        parallel::section(),
        watch::section(),
        tracing::section(),
        parse::section(),
        graph::section(),
    ]
}
