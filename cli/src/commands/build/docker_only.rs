//! The flags of `docker build` that kiln does not have: each is known, and each says what to do.
//!
//! They are arguments to the parser, so that a script's flag is answered by its name and not by a guess.

use crate::failure::UsageError;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

/// A flag of docker's.
#[derive(Debug)]
pub struct Flag {
    /// Its long name, without dashes.
    pub name: &'static str,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// Whether it takes a value; a switch still takes `=true`.
    pub takes_value: bool,
    /// What to do in its place.
    pub advice: &'static str,
}

const fn switch(name: &'static str, advice: &'static str) -> Flag {
    Flag { name, short: None, takes_value: false, advice }
}

const fn value(name: &'static str, advice: &'static str) -> Flag {
    Flag { name, short: None, takes_value: true, advice }
}

const fn letter(name: &'static str, short: char, advice: &'static str) -> Flag {
    Flag { name, short: Some(short), takes_value: true, advice }
}

const LIMITS: &str = "run kiln itself under the limit, for instance with systemd-run --user --scope -p MemoryMax=2G";
const CACHE: &str = "the store is the cache: keep the directory of KILN_STORE between builds";
const ATTEST: &str = "make the attestation from the image, written with -o type=oci,dest=FILE";
const CONTAINERS: &str = "kiln leaves no intermediate containers behind: leave the flag out";
const BUILDKIT: &str = "kiln has no builders and no daemon: leave the flag out";

/// All of them.
pub const FLAGS: &[Flag] = &[
    switch("load", "use -o type=docker,dest=- | docker load"),
    switch("push", "write the image with -o type=oci,dest=FILE and push that, for instance with skopeo"),
    value("cache-from", CACHE),
    value("cache-to", CACHE),
    value("sbom", ATTEST),
    value("provenance", ATTEST),
    value("attest", ATTEST),
    value("annotation", "use --label, or edit the manifest of an image written with -o type=oci,dest=FILE"),
    value("builder", BUILDKIT),
    value("cgroup-parent", LIMITS),
    value("ulimit", "set the limit in the shell that starts kiln: steps inherit it"),
    letter("memory", 'm', LIMITS),
    value("memory-swap", LIMITS),
    letter("cpu-shares", 'c', LIMITS),
    value("cpu-period", LIMITS),
    value("cpu-quota", LIMITS),
    value("cpuset-cpus", "use taskset in front of kiln"),
    value("cpuset-mems", "use numactl in front of kiln"),
    value("isolation", "leave the flag out: every step runs in a sandbox of its own"),
    value("security-opt", "leave the flag out: every step runs with docker's default capabilities"),
    switch("debug", "use --progress plain, which shows every line of every step"),
    value("policy", "name base images by digest: FROM NAME@sha256:…"),
    switch("squash", "copy the result into a last stage: FROM scratch and COPY --from"),
    switch("compress", "the context is not sent anywhere: leave the flag out"),
    switch("rm", CONTAINERS),
    switch("force-rm", CONTAINERS),
    switch("disable-content-trust", "name base images by digest: FROM NAME@sha256:…"),
];

/// Which of them were typed.
#[derive(Clone, Debug, Default)]
pub struct DockerOnly {
    used: Vec<&'static Flag>,
}

impl DockerOnly {
    /// The error for the first that was typed.
    pub fn check(&self) -> Result<(), UsageError> {
        match self.used.first() {
            None => Ok(()),
            Some(flag) => {
                let what = match flag.short {
                    Some(short) => format!("-{short}/--{}", flag.name),
                    None => format!("--{}", flag.name),
                };
                Err(UsageError::Unsupported { what, advice: flag.advice.to_owned() })
            }
        }
    }
}

impl clap::Args for DockerOnly {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|flag| {
            let arg = Arg::new(flag.name).long(flag.name).action(ArgAction::Append).hide(true);
            let arg = match flag.short {
                Some(short) => arg.short(short),
                None => arg,
            };
            if flag.takes_value { arg } else { arg.num_args(0..=1).require_equals(true).default_missing_value("true") }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DockerOnly {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(DockerOnly { used: FLAGS.iter().filter(|flag| matches.contains_id(flag.name)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kiln;

    #[test]
    fn each_is_refused_by_name_with_advice_and_none_as_unexpected() {
        for flag in FLAGS {
            let typed = format!("--{}", flag.name);
            let with_value = format!("--{}=x", flag.name);
            let shown = kiln(["build", if flag.takes_value { &with_value } else { &typed }, "."]);
            assert!(shown.starts_with("exit 2\n"), "{shown}");
            assert!(shown.contains(&format!("{typed} is not supported by kiln yet\nhelp: {}", flag.advice)), "{shown}");
        }
        assert!(kiln(["build", "-m", "2g", "."]).contains("error: -m/--memory is not supported by kiln yet"));
    }

    #[test]
    fn a_switch_takes_no_word_that_follows_it() {
        insta::assert_snapshot!(kiln(["build", "--load", "."]));
    }
}
