//! kiln from outside, as its users run it: one program, a file for each thing that users do.

mod caching;
mod errors;
mod kills;
mod outputs;
