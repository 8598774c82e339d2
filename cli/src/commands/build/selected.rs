//! A target of the project file as arguments of `kiln build`: what the file says, and the flags before it.
//!
//! Paths of a project file are from its directory. Pure.

use super::Args;
use crate::project::{Secret, Target};
use kiln_engine::api::{Destination, NamedContext, Output};
use std::path::{Path, PathBuf};

/// The arguments that a target comes to in the project directory `base`, its names, labels, outputs and platforms left
/// out: those are for one result alone.
pub fn arguments(typed: &Args, target: &Target, base: &Path) -> Args {
    let mut args = typed.clone();
    args.words = vec![match &target.context {
        None => base.to_path_buf(),
        Some(context) => place(base, context),
    }];
    args.file = args.file.or_else(|| target.file.as_ref().map(|file| within(base, file)));
    let pairs = |map: &std::collections::BTreeMap<String, String>| -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    // The last one of a name counts, and flags are last.
    args.build_args = [pairs(&target.args), args.build_args].concat();
    args.build_contexts = [pairs(&target.contexts), args.build_contexts].concat();
    let is_given = |id: &str| typed.secrets.iter().any(|text| text.split(',').any(|field| field == format!("id={id}")));
    let secrets = target.secrets.iter().filter(|(id, _)| !is_given(id)).map(|(id, secret)| match secret {
        Secret::File(path) => format!("id={id},{}", field("src", &within(base, path).display().to_string())),
        Secret::Env(name) => format!("id={id},env={name}"),
    });
    args.secrets = secrets.chain(args.secrets).collect();
    let agent = |text: &str| text.split('=').next().unwrap_or(text).to_owned();
    let is_lent = |text: &&String| typed.ssh.iter().any(|other| agent(other) == agent(text));
    let ssh = target.ssh.iter().filter(|text| !is_lent(text)).map(|text| match text.split_once('=') {
        None => text.clone(),
        Some((id, paths)) => {
            let paths = paths.split(',').map(|path| within(base, path).display().to_string());
            format!("{id}={}", paths.collect::<Vec<_>>().join(","))
        }
    });
    args.ssh = ssh.chain(args.ssh).collect();
    args.allow.extend(target.allow.iter().cloned());
    args.add_hosts = [target.add_hosts.clone(), args.add_hosts].concat();
    if args.network == "default" {
        args.network = target.network.clone().unwrap_or(args.network);
    }
    args.shm_size = args.shm_size.or_else(|| target.shm_size.clone());
    args.no_cache |= target.no_cache.unwrap_or(false);
    args.no_cache_filter.extend(target.no_cache_filter.iter().cloned());
    args.pull |= target.pull.unwrap_or(false);
    args
}

/// A place that may be a path from the project's directory, or anywhere.
fn place(base: &Path, text: &str) -> PathBuf {
    match kiln_dsl::remote::Remote::parse_context(text) {
        Ok(Some(_)) => PathBuf::from(text),
        _ => within(base, text),
    }
}

fn within(base: &Path, path: &str) -> PathBuf {
    match base == Path::new(".") {
        true => PathBuf::from(path),
        false => base.join(path),
    }
}

fn field(key: &str, value: &str) -> String {
    let text = format!("{key}={value}");
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// An output whose path is from the project's directory.
pub fn output(output: Output, base: &Path) -> Output {
    let path = |path: PathBuf| if base == Path::new(".") { path } else { base.join(path) };
    let dest = |dest: Destination| match dest {
        Destination::Path(found) => Destination::Path(path(found)),
        Destination::Stdout => Destination::Stdout,
    };
    match output {
        Output::Oci { dest: to, tar, compression } => Output::Oci { dest: dest(to), tar, compression },
        Output::Docker { dest: to } => Output::Docker { dest: dest(to) },
        Output::Tar { dest: to } => Output::Tar { dest: dest(to) },
        Output::Local { dest } => Output::Local { dest: path(dest) },
    }
}

/// A named context of the target whose path is from the project's directory; those of flags stay as they are.
pub fn context(name: &str, context: NamedContext, target: &Target, typed: &Args, base: &Path) -> NamedContext {
    let is_flags = typed.build_contexts.iter().any(|text| text.split('=').next() == Some(name));
    match context {
        NamedContext::Directory(path) if !is_flags && target.contexts.contains_key(name) && base != Path::new(".") => {
            NamedContext::Directory(base.join(path))
        }
        other => other,
    }
}
