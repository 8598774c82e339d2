//! x
mod challenge;
mod docker_config;
mod error;
mod hosts;
mod keyring;
mod options;
pub mod platform;
pub mod reference;
mod retry;
mod secret;
mod url;
