//! `--progress json`: each event as one JSON object on one line.
//!
//! The names and fields are those of [`kiln_engine::event::Event`], which are stable.

use super::Render;
use kiln_engine::event::Event;
use std::io::{self, Write};

/// The renderer.
#[derive(Debug)]
pub struct Json;

impl Render for Json {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, event)?;
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::script;

    #[test]
    fn every_event_is_one_object_on_one_line() {
        let text = script::rendered(Json, &script::failing());
        insta::assert_snapshot!(text);
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["event"].is_string());
        }
    }
}
