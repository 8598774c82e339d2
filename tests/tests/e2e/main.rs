//! kiln from outside, as its users run it: one program, a file for each thing that users do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binds;
mod branches;
mod caching;
mod deep;
mod docs;
mod errors;
mod examples;
mod explains;
mod exports;
mod includes;
mod keys;
mod kills;
mod manage;
mod merges;
mod mounts;
mod named;
mod node_app;
mod ordinary_user;
mod outputs;
mod platforms;
mod processes;
mod random;
mod registry;
mod registry_server;
mod remote;
mod run;
mod secrets;
mod soundness;
mod soundness_mounts;
mod stages;
mod stdin;
mod targets;
mod traced;
mod untraced;
mod watch;
