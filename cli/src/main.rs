//! The `kiln` binary: commands and renderers only.

fn main() {}
