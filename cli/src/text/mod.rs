//! Text for people: quantities, tables and foreign output. Pure.

pub mod clean;
pub mod quantity;
pub mod table;
