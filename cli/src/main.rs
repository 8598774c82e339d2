//! The `kiln` binary: commands and renderers only. Everything it does is done by the engine.

mod app;
mod bake;
mod commands;
mod engine;
mod environment;
mod exit;
mod explain;
mod failure;
mod project;
mod render;
mod report;
mod session;
mod streams;
mod sys;
mod text;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod testing;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    sys::give_memory_back();
    let environment = environment::Environment::of_process();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let session = session::Session {
        environment: &environment,
        engine: &engine::Local,
        out: streams::Stream::stdout(),
        err: streams::Stream::stderr(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
        now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        measure: sys::terminal_size,
        catch_interrupts: sys::catch_interrupts,
        become_root: kiln_engine::sandbox::enter_user_namespace,
        identity: std::cell::OnceCell::new(),
    };
    ExitCode::from(app::run(std::env::args_os(), &session).code())
}
