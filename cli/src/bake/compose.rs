//! The builds of a compose file: a target for each service that has one.
//!
//! Format: <https://docs.docker.com/reference/compose-file/build/>. What a service is beside its build is none of this.

use super::convert::Taker;
use super::{Draft, Project, line_of};
use crate::project::Secret;
use kiln_dsl::key::DataFormat;
use kiln_engine::key::eval::data::{self, Data};
use serde_json::Value;

/// Reads one.
pub fn read(text: &str) -> Result<Project, String> {
    let data = data::read(DataFormat::Yaml, text.as_bytes()).map_err(|error| error.to_string())?;
    let whole = json(data);
    let Some(Value::Object(services)) = whole.get("services") else {
        return Err("it has no services".to_owned());
    };
    let mut project = Project::default();
    for (name, service) in services {
        let Some(build) = service.get("build") else { continue };
        let line = |attribute: &str| line_of(text, &["services", name, "build", attribute]);
        let called = format!("service {name}");
        let mut taker = Taker { draft: Draft::default(), remarks: Vec::new(), line: &line, called: &called };
        match build {
            Value::String(context) => taker.draft.context = Some(context.clone()),
            Value::Object(attributes) => {
                for (key, value) in attributes {
                    match key.as_str() {
                        "secrets" => secrets(&mut taker, value, &whole),
                        _ => taker.take(key, value),
                    }
                }
            }
            _ => taker.remark("build", "it is neither a directory nor a map"),
        }
        let Taker { mut draft, remarks, .. } = taker;
        if let Some(image) = service.get("image").and_then(Value::as_str)
            && !draft.tags.iter().any(|tag| tag == image)
        {
            draft.tags.insert(0, image.to_owned());
        }
        if let (Some(file), Some(context)) = (&draft.file, draft.context.as_deref().filter(|context| *context != ".")) {
            let is_remote = matches!(kiln_dsl::remote::Remote::parse_context(context), Ok(Some(_)));
            if !is_remote && !file.starts_with('/') {
                draft.file = Some(format!("{}/{file}", context.trim_end_matches('/')));
            }
        }
        project.default.push(name.clone());
        project.targets.push((name.clone(), draft));
        project.remarks.extend(remarks);
    }
    if project.targets.is_empty() {
        return Err("none of its services has a build".to_owned());
    }
    Ok(project)
}

/// The secrets of a build are names of the file's own.
fn secrets(taker: &mut Taker<'_>, value: &Value, whole: &Value) {
    for item in super::convert::items(value) {
        let source = item.as_str().or_else(|| item.get("source").and_then(Value::as_str));
        let Some(source) = source else {
            taker.remark("secrets", "a secret has no name");
            continue;
        };
        let id = item.get("target").and_then(Value::as_str).unwrap_or(source).to_owned();
        let known = whole.get("secrets").and_then(|secrets| secrets.get(source));
        let get = |key: &str| known.and_then(|known| known.get(key)).and_then(Value::as_str).map(str::to_owned);
        match (get("file"), get("environment")) {
            (Some(path), _) => taker.draft.secrets.push((id, Secret::File(path))),
            (None, Some(variable)) => taker.draft.secrets.push((id, Secret::Env(variable))),
            (None, None) => taker.remark("secrets", format!("{source} is neither a file nor a variable")),
        }
    }
}

/// YAML as JSON: plain scalars that are truth values, numbers or nothing are such. Two dollars are one, as compose has it.
fn json(data: Data) -> Value {
    match data {
        Data::Scalar(text) => match text.as_str() {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            "" | "null" | "Null" | "NULL" | "~" => Value::Null,
            _ => Value::String(text),
        },
        Data::Text(text) => Value::String(text.replace("$$", "\\$")),
        Data::List(items) => Value::Array(items.into_iter().map(json).collect()),
        Data::Map(members) => Value::Object(members.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}
