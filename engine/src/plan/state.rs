//! What the instructions of a stage have added up to so far.

use super::scope::{Scope, set_in_config};
use super::step::{Base, Target};
use crate::graph::NodeId;
use crate::image::config::{DEFAULT_PATH, HISTORY_COMMENT, History, ImageConfig};
use kiln_dsl::expand::Variables as _;
use kiln_dsl::platform::Platform;

/// A stage while its instructions are planned.
#[derive(Clone, Debug)]
pub struct StageState {
    /// The variables that the next instruction sees.
    pub scope: Scope,
    /// The image configuration so far.
    pub config: ImageConfig,
    /// For each history entry of this build, the step that makes its layer.
    pub made_by: Vec<Option<NodeId>>,
    /// The ARGs in scope with their values, for RUN's history.
    pub args: Vec<(String, Option<String>)>,
    /// The last step.
    pub node: Option<NodeId>,
    /// Where the chain began.
    pub base: Option<Base>,
    /// The platform.
    pub platform: Platform,
    /// Whether this stage set CMD, which ENTRYPOINT then keeps.
    pub cmd_set: bool,
    /// Whether it is made from another stage.
    pub inherits: bool,
    /// How many of its instructions were shown.
    pub ordinal: usize,
    /// How its steps are prefixed: name with a blank, or nothing; and how many there are.
    pub prefix: (String, usize),
    /// Whether it may be another one for another platform that is built for.
    pub is_tainted: bool,
    /// The last instruction that was shown.
    pub last: Option<usize>,
}

impl StageState {
    /// A stage on a base with this configuration.
    pub fn new(mut config: ImageConfig, base: Base, node: Option<NodeId>, platform: Platform) -> Self {
        let mut scope = Scope::default();
        for entry in &config.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            scope.set(name, value);
        }
        if scope.get("PATH").is_none() && platform.os != "windows" {
            let path = DEFAULT_PATH.trim_start_matches("PATH=");
            scope.set("PATH", path);
            set_in_config(&mut config.config.env, "PATH", path);
        }
        config.created = None;
        StageState {
            scope,
            config,
            made_by: Vec::new(),
            args: Vec::new(),
            node,
            base: Some(base),
            platform,
            cmd_set: false,
            inherits: false,
            ordinal: 0,
            prefix: (String::new(), 0),
            is_tainted: false,
            last: None,
        }
    }

    /// A stage made from this one.
    pub fn inherited(&self) -> Self {
        // Its ARGs stay variables, but the history of this stage's RUNs lists only its own.
        StageState { cmd_set: false, inherits: true, ordinal: 0, args: Vec::new(), ..self.clone() }
    }

    /// The working directory.
    pub fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// Takes the triggers that the base leaves to this stage.
    pub fn take_triggers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.config.config.on_build)
    }

    /// Adds a history entry. `layer` is the step that makes a layer for it.
    pub fn commit(&mut self, created_by: String, layer: Option<NodeId>) {
        self.config.history.push(History {
            created: None,
            created_by,
            author: String::new(),
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: layer.is_none(),
        });
        self.made_by.push(layer);
    }

    /// Where its steps run and what for: `linux/amd64`, or `linux/amd64->arm64` as BuildKit writes it.
    pub fn lane(&self, built_for: &Platform) -> String {
        let own = self.platform.to_string();
        if !self.is_tainted || self.platform == *built_for {
            return own;
        }
        match (self.platform.os == built_for.os, &built_for.variant) {
            (true, _) if self.platform.arch == built_for.arch => format!("{own}->{built_for}"),
            (true, None) => format!("{own}->{}", built_for.arch),
            (true, Some(variant)) => format!("{own}->{}/{variant}", built_for.arch),
            (false, _) => format!("{own}->{built_for}"),
        }
    }

    /// What the stage `stage` came to.
    pub fn finish(mut self, stage: String, built_for: Platform, labels: &[(String, String)]) -> Target {
        for (name, value) in labels {
            self.config.config.labels.insert(name.clone(), value.clone());
        }
        let StageState { node, config, made_by, base, platform, .. } = self;
        Target { stage, built_for, node, config, made_by, base, platform }
    }
}
