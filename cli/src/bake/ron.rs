//! A project file as people would write it: only what is said, one field a line.

use super::{Draft, Project};
use crate::project::Secret;
use std::fmt::Write as _;

/// The text.
pub fn written(project: &Project, from: &str) -> String {
    let mut out = format!("// Made of {from} by kiln import-bake.\n(\n");
    if !project.default.is_empty() {
        line(&mut out, 1, "default", &list(&project.default));
    }
    out.push_str("    targets: {\n");
    for (name, draft) in &project.targets {
        for comment in draft.comment.iter().flat_map(|comment| comment.lines()) {
            let _infallible = writeln!(out, "        // {comment}");
        }
        let _infallible = writeln!(out, "        {name:?}: (");
        target(&mut out, draft);
        out.push_str("        ),\n");
    }
    out.push_str("    },\n");
    if !project.groups.is_empty() {
        out.push_str("    groups: {\n");
        for (name, members) in &project.groups {
            let _infallible = writeln!(out, "        {name:?}: {},", list(members));
        }
        out.push_str("    },\n");
    }
    out.push_str(")\n");
    out
}

fn line(out: &mut String, depth: usize, field: &str, value: &str) {
    let _infallible = writeln!(out, "{:width$}{field}: {value},", "", width = depth * 4);
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(", "))
}

fn map(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:?}: {value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn target(out: &mut String, draft: &Draft) {
    let mut put = |field: &str, value: Option<String>| {
        if let Some(value) = value {
            line(out, 3, field, &value);
        }
    };
    let text = |value: &Option<String>| value.as_ref().map(|value| format!("{value:?}"));
    let some_list = |items: &[String]| (!items.is_empty()).then(|| list(items));
    let some_map = |pairs: &[(String, String)]| (!pairs.is_empty()).then(|| map(pairs));
    put("hidden", draft.hidden.then(|| "true".to_owned()));
    put("inherits", some_list(&draft.inherits));
    put("context", text(&draft.context));
    put("file", text(&draft.file));
    put("stage", text(&draft.stage));
    put("args", some_map(&draft.args));
    put("labels", some_map(&draft.labels));
    put("contexts", some_map(&draft.contexts));
    put("tags", some_list(&draft.tags));
    put("platforms", some_list(&draft.platforms));
    put("outputs", some_list(&draft.outputs));
    let secret = |(id, secret): &(String, Secret)| match secret {
        Secret::File(path) => format!("{id:?}: file({path:?})"),
        Secret::Env(name) => format!("{id:?}: env({name:?})"),
    };
    let secrets: Vec<String> = draft.secrets.iter().map(secret).collect();
    put("secrets", (!secrets.is_empty()).then(|| format!("{{{}}}", secrets.join(", "))));
    put("ssh", some_list(&draft.ssh));
    put("allow", some_list(&draft.allow));
    put("add_hosts", some_list(&draft.add_hosts));
    put("network", text(&draft.network));
    put("shm_size", text(&draft.shm_size));
    put("no_cache", draft.no_cache.map(|yes| yes.to_string()));
    put("no_cache_filter", some_list(&draft.no_cache_filter));
    put("pull", draft.pull.map(|yes| yes.to_string()));
}
