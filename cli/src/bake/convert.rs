//! The attributes of a target of a bake file, or of a build of a compose file, as those of a draft.
//!
//! Both have nearly the same attributes under slightly different names; this knows the union. A value comes as JSON with
//! its variables already in the form of a project file.

use super::{Draft, Remark};
use crate::project::Secret;
use serde_json::Value;

/// What can be said of attributes that have no counterpart.
const WITHOUT: [(&str, &str); 14] = [
    ("cache-from", "the store is the cache"),
    ("cache-to", "the store is the cache"),
    ("attest", "kiln makes no attestations"),
    ("sbom", "kiln makes no attestations"),
    ("provenance", "kiln makes no attestations"),
    ("annotations", "kiln writes none"),
    ("call", "use kiln check or kiln targets"),
    ("ulimits", "steps have the limits of kiln itself"),
    ("policy", "kiln has no policies"),
    ("dockerfile-inline", "write it to a file"),
    ("privileged", "ask for security.insecure in the steps that need it"),
    ("isolation", "it is for Windows"),
    ("extends", "use inherits"),
    ("tags-from", "kiln has no counterpart"),
];

/// Takes attributes, and remembers what it could not take.
pub struct Taker<'a> {
    pub draft: Draft,
    pub remarks: Vec<Remark>,
    /// Where an attribute stands.
    pub line: &'a dyn Fn(&str) -> usize,
    /// How the target is called in a remark: `target web`.
    pub called: &'a str,
}

impl Taker<'_> {
    /// Notes what an attribute has no counterpart for.
    pub fn remark(&mut self, attribute: &str, words: impl std::fmt::Display) {
        let (line, called) = ((self.line)(attribute), self.called);
        self.remarks.push(Remark { line, words: format!("{called}: {attribute}: {words}") });
    }

    /// Takes one attribute.
    pub fn take(&mut self, name: &str, value: &Value) {
        // Compose writes names with underscores.
        let plain = name.replace('_', "-");
        let draft = &mut self.draft;
        match plain.as_str() {
            "description" => draft.comment = text(value),
            "inherits" => draft.inherits = texts(value),
            "context" => draft.context = text(value),
            "dockerfile" => draft.file = text(value),
            "target" => draft.stage = text(value),
            "args" => draft.args = pairs(value),
            "labels" => draft.labels = pairs(value),
            "contexts" | "additional-contexts" => draft.contexts = pairs(value),
            "tags" => draft.tags.extend(texts(value)),
            "platforms" => draft.platforms = texts(value),
            "network" => draft.network = text(value),
            "shm-size" => draft.shm_size = text(value),
            "no-cache" => draft.no_cache = truth(value),
            "pull" => draft.pull = truth(value),
            "no-cache-filter" => draft.no_cache_filter = texts(value),
            "entitlements" => draft.allow = texts(value),
            "extra-hosts" => {
                draft.add_hosts = match value {
                    Value::Object(_) => {
                        pairs(value).into_iter().map(|(name, address)| format!("{name}:{address}")).collect()
                    }
                    _ => texts(value).into_iter().map(|one| one.replacen('=', ":", 1)).collect(),
                };
            }
            "output" => self.outputs(name, value),
            "secret" | "secrets" => self.secrets(name, value),
            "ssh" => {
                draft.ssh = match value {
                    Value::Object(_) => pairs(value).into_iter().map(|(id, path)| format!("{id}={path}")).collect(),
                    _ => items(value).iter().filter_map(agent).collect(),
                };
            }
            other => match WITHOUT.iter().find(|(attribute, _)| *attribute == other) {
                // What is not asked for needs no counterpart.
                Some(_) if is_nothing(value) => {}
                Some((_, why)) => self.remark(name, format!("it has no counterpart: {why}")),
                None => self.remark(name, "it has no counterpart"),
            },
        }
    }

    fn outputs(&mut self, name: &str, value: &Value) {
        for item in items(value) {
            let typed = match item {
                Value::Object(members) => {
                    let fields = members.iter().filter_map(|(key, value)| Some(format!("{key}={}", text(value)?)));
                    fields.collect::<Vec<_>>().join(",")
                }
                other => text(other).unwrap_or_default(),
            };
            match crate::commands::output_error(&typed) {
                None => self.draft.outputs.push(typed),
                // Bake's own default: the image is in the store in any case.
                Some(_) if matches!(typed.as_str(), "type=docker" | "type=cacheonly") => {}
                Some(error) => self.remark(name, format!("{typed:?} has no counterpart: {error}")),
            }
        }
    }

    fn secrets(&mut self, name: &str, value: &Value) {
        for item in items(value) {
            let members: Vec<(String, String)> = match item {
                Value::Object(_) => pairs(item),
                other => {
                    let typed = text(other).unwrap_or_default();
                    let fields = typed.split(',').map(|field| field.split_once('=').unwrap_or(("id", field)));
                    fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
                }
            };
            let get = |keys: &[&str]| {
                members.iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| value.clone())
            };
            let is_env = get(&["type"]).as_deref() == Some("env");
            let Some(id) = get(&["id"]) else {
                self.remark(name, "a secret has no id");
                continue;
            };
            let secret = match (get(&["env"]), get(&["src", "source"])) {
                (Some(variable), _) => Secret::Env(variable),
                (None, Some(variable)) if is_env => Secret::Env(variable),
                (None, Some(path)) => Secret::File(path),
                // As docker does it: a variable of the name, else a file of the name.
                (None, None) => Secret::Env(id.clone()),
            };
            self.draft.secrets.push((id, secret));
        }
    }
}

fn agent(value: &Value) -> Option<String> {
    let Value::Object(_) = value else { return text(value) };
    let members = pairs(value);
    let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let id = get("id").unwrap_or_else(|| "default".to_owned());
    Some(match get("paths") {
        Some(paths) => format!("{id}={paths}"),
        None => id,
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// A scalar as a text.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(text).collect::<Vec<_>>().join(",")),
        Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The items of a list; a value alone is a list of one, and nothing one of none.
pub fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        other => std::slice::from_ref(other),
    }
}

/// The texts of a list; empty ones are left out, as bake does it.
pub fn texts(value: &Value) -> Vec<String> {
    items(value).iter().filter_map(text).filter(|text| !text.is_empty()).collect()
}

/// The members of a map, or of a list of `NAME=VALUE`. A name without a value has the environment's.
pub fn pairs(value: &Value) -> Vec<(String, String)> {
    let of_environment = |name: &str| (name.to_owned(), format!("${{{name}}}"));
    match value {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| match text(value) {
                Some(value) => (name.clone(), value),
                None => of_environment(name),
            };
            members.iter().map(member).collect()
        }
        other => texts(other)
            .iter()
            .map(|one| match one.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => of_environment(one),
            })
            .collect(),
    }
}
