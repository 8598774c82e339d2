//! The targets of a project: what each is built of, with what it takes from others.
//!
//! Pure. What a value means is the build command's to say: a target's texts are those that its flags take.

use serde::Deserialize;
use std::collections::BTreeMap;

/// One target. What it leaves out it has from those that it inherits from, then from the project's defaults.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The targets that it takes from, the later before the earlier.
    pub inherits: Vec<String>,
    /// What COPY and ADD read.
    pub context: Option<String>,
    /// The Dockerfile.
    pub file: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Named contexts.
    pub contexts: BTreeMap<String, String>,
    /// Names for the image.
    pub tags: Vec<String>,
    /// The platforms.
    pub platforms: Vec<String>,
    /// Where the result goes, as `-o` takes it.
    pub outputs: Vec<String>,
    /// Secrets by their ids.
    pub secrets: BTreeMap<String, Secret>,
    /// ssh agents, as `--ssh` takes them.
    pub ssh: Vec<String>,
    /// What steps may do beyond the usual.
    pub allow: Vec<String>,
    /// Lines for /etc/hosts, as `--add-host` takes them.
    pub add_hosts: Vec<String>,
    /// The network of RUN steps.
    pub network: Option<String>,
    /// The size of /dev/shm.
    pub shm_size: Option<String>,
    /// Look up no earlier result.
    pub no_cache: Option<bool>,
    /// Look up no earlier result in these stages.
    pub no_cache_filter: Vec<String>,
    /// Ask the registry even for images that the store knows.
    pub pull: Option<bool>,
    /// How it is watched.
    pub watch: Watch,
    /// Whether it is there to be inherited from only, and listed nowhere.
    pub hidden: bool,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// The content of a file.
    File(String),
    /// The value of a variable of the environment.
    Env(String),
}

/// How a target is watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Run the image's command after each good build.
    pub run: Option<bool>,
    /// Run a command of the host after each good build.
    pub exec: Option<String>,
    /// How long nothing has to change before what changed is built.
    pub debounce: Option<String>,
}

impl Target {
    /// The Dockerfile and the stage in words: `stage web of Dockerfile in app`.
    pub fn words(&self) -> String {
        let stage = self.stage.as_ref().map_or_else(|| "the last stage".to_owned(), |stage| format!("stage {stage}"));
        let file = self.file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
        let context = self.context.as_ref().filter(|context| *context != ".");
        let context = context.map(|context| format!(" in {context}")).unwrap_or_default();
        format!("{stage}{file}{context}")
    }

    /// This target over another one: what it says goes first, maps are joined by their keys, lists replaced as a whole.
    #[must_use]
    pub fn over(self, below: Target) -> Target {
        fn list(own: Vec<String>, below: Vec<String>) -> Vec<String> {
            if own.is_empty() { below } else { own }
        }
        fn map<T>(own: BTreeMap<String, T>, mut below: BTreeMap<String, T>) -> BTreeMap<String, T> {
            below.extend(own);
            below
        }
        Target {
            inherits: Vec::new(),
            context: self.context.or(below.context),
            file: self.file.or(below.file),
            stage: self.stage.or(below.stage),
            args: map(self.args, below.args),
            labels: map(self.labels, below.labels),
            contexts: map(self.contexts, below.contexts),
            tags: list(self.tags, below.tags),
            platforms: list(self.platforms, below.platforms),
            outputs: list(self.outputs, below.outputs),
            secrets: map(self.secrets, below.secrets),
            ssh: list(self.ssh, below.ssh),
            allow: list(self.allow, below.allow),
            add_hosts: list(self.add_hosts, below.add_hosts),
            network: self.network.or(below.network),
            shm_size: self.shm_size.or(below.shm_size),
            no_cache: self.no_cache.or(below.no_cache),
            no_cache_filter: list(self.no_cache_filter, below.no_cache_filter),
            pull: self.pull.or(below.pull),
            watch: Watch {
                run: self.watch.run.or(below.watch.run),
                exec: self.watch.exec.or(below.watch.exec),
                debounce: self.watch.debounce.or(below.watch.debounce),
            },
            hidden: self.hidden,
        }
    }

    /// The same with every text that is not a name in this file replaced by what `replace` makes of it.
    ///
    /// # Errors
    /// The first that `replace` has.
    pub fn try_map<E>(mut self, replace: &dyn Fn(&str) -> Result<String, E>) -> Result<Target, E> {
        let options = [&mut self.context, &mut self.file, &mut self.stage, &mut self.network, &mut self.shm_size];
        let maps = [&mut self.args, &mut self.labels, &mut self.contexts].into_iter().flat_map(BTreeMap::values_mut);
        let lists = [&mut self.tags, &mut self.platforms, &mut self.outputs, &mut self.ssh, &mut self.add_hosts];
        let secrets = self.secrets.values_mut().map(|secret| match secret {
            Secret::File(text) | Secret::Env(text) => text,
        });
        let all = options.into_iter().flatten().chain(maps).chain(lists.into_iter().flatten()).chain(secrets);
        for text in all {
            *text = replace(text)?;
        }
        Ok(self)
    }
}
