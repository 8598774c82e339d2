//! What only all targets of a bake file together tell: Dockerfiles are named from their contexts, contexts may be other
//! targets, and a target called default is the default. Pure.

use super::{Draft, Project, Remark, line_of};

/// Completes what was read.
pub fn finish(project: &mut Project, text: &str) {
    let all = project.targets.clone();
    let get = |name: &str| all.iter().find(|(other, _)| other == name).map(|(_, draft)| draft);
    fn nearest<'d>(
        draft: &'d Draft,
        get: &dyn Fn(&str) -> Option<&'d Draft>,
        read: &dyn Fn(&'d Draft) -> Option<&'d String>,
        depth: usize,
    ) -> Option<&'d String> {
        if depth > 32 {
            return None;
        }
        read(draft).or_else(|| draft.inherits.iter().rev().find_map(|name| nearest(get(name)?, get, read, depth + 1)))
    }
    for ((name, draft), (_, own)) in project.targets.iter_mut().zip(&all) {
        let context = nearest(own, &get, &|draft| draft.context.as_ref(), 0);
        let file = nearest(own, &get, &|draft| draft.file.as_ref(), 0);
        let says = own.context.is_some() || own.file.is_some();
        if let (Some(file), true) = (file, says) {
            let is_remote = |context: &str| matches!(kiln_dsl::remote::Remote::parse_context(context), Ok(Some(_)));
            draft.file = Some(match context {
                Some(context) if context != "." && !is_remote(context) && !file.starts_with('/') => {
                    format!("{}/{file}", context.trim_end_matches('/'))
                }
                _ => file.clone(),
            });
        }
        let mut lost = Vec::new();
        draft.contexts.retain_mut(|(alias, place)| {
            let Some(target) = place.strip_prefix("target:") else { return true };
            let same = |read: &dyn Fn(&Draft) -> Option<&String>| {
                let other = get(target).and_then(read);
                other == read(own)
                    || (other.is_none() && read(own).is_some_and(|value| matches!(value.as_str(), "." | "Dockerfile")))
            };
            match get(target).and_then(|other| other.stage.clone()) {
                Some(stage) if same(&|draft| draft.file.as_ref()) && same(&|draft| draft.context.as_ref()) => {
                    *place = format!("target:{stage}");
                    true
                }
                _ => {
                    lost.push((alias.clone(), target.to_owned()));
                    false
                }
            }
        });
        for (alias, target) in lost {
            let words = format!(
                "target {name}: contexts: {alias} is the target {target}, which is no stage of the same file: build it first, and name its image with docker-image://"
            );
            let line = line_of(text, &["target", name, "contexts", &alias]);
            project.remarks.push(Remark { line, words });
        }
    }
    if project.default.is_empty() && get("default").is_some() {
        project.default = vec!["default".to_owned()];
    }
    // A group of one's own name would be both.
    project.groups.retain(|(name, _)| get(name).is_none());
}
