//! The functions of bake that are told in a line each: of texts, of lists and maps, of truth.
//!
//! As in bake's own language, a list that is asked for more than it has is an error. Pure.

use hcl::Value;
use hcl::eval::{Context, Func, FuncArgs, FuncDef, ParamType};
use regex_lite::Regex;

/// Declares them, each with the number of its arguments; `None` takes any number.
pub fn declare(context: &mut Context<'_>) {
    let all: [(&str, Option<usize>, Func); 20] = [
        ("trim", Some(2), |args| {
            let texts = texts(args);
            Ok(texts[0].trim_matches(|c| texts[1].contains(c)).into())
        }),
        ("trimprefix", Some(2), |args| {
            let texts = texts(args);
            Ok(texts[0].strip_prefix(&texts[1]).unwrap_or(&texts[0]).into())
        }),
        ("trimsuffix", Some(2), |args| {
            let texts = texts(args);
            Ok(texts[0].strip_suffix(&texts[1]).unwrap_or(&texts[0]).into())
        }),
        ("basename", Some(1), |args| Ok(texts(args)[0].rsplit('/').next().unwrap_or_default().into())),
        ("strlen", Some(1), |args| Ok(texts(args)[0].chars().count().into())),
        ("regex_replace", Some(3), |args| {
            let texts = texts(args);
            let pattern = Regex::new(&texts[1]).map_err(|error| error.to_string())?;
            Ok(pattern.replace_all(&texts[0], texts[2].as_str()).into_owned().into())
        }),
        ("length", Some(1), |args| Ok(items(&args.into_values()[0]).len().into())),
        ("contains", Some(2), |args| {
            let values = args.into_values();
            Ok(items(&values[0]).contains(&values[1]).into())
        }),
        ("distinct", Some(1), |args| {
            let mut kept: Vec<Value> = Vec::new();
            for item in items(&args.into_values()[0]) {
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            Ok(kept.into())
        }),
        ("compact", Some(1), |args| {
            let is_there = |item: &Value| !item.is_null() && item.as_str() != Some("");
            Ok(items(&args.into_values()[0]).into_iter().filter(is_there).collect::<Vec<_>>().into())
        }),
        ("flatten", Some(1), |args| Ok(flattened(&args.into_values()[0]).into())),
        ("keys", Some(1), |args| {
            let values = args.into_values();
            let keys = values[0].as_object().into_iter().flat_map(|members| members.keys().cloned());
            Ok(keys.collect::<Vec<String>>().into())
        }),
        ("values", Some(1), |args| Ok(items(&args.into_values()[0]).into())),
        ("element", Some(2), |args| {
            let values = args.into_values();
            let items = items(&values[0]);
            let at = values[1].as_u64().and_then(|at| usize::try_from(at).ok()).filter(|_| !items.is_empty());
            at.map(|at| items[at % items.len()].clone()).ok_or_else(|| "the list has no such element".to_owned())
        }),
        ("lookup", Some(3), |args| {
            let values = args.into_values();
            let found = values[0].as_object().and_then(|members| members.get(values[1].as_str()?));
            Ok(found.unwrap_or(&values[2]).clone())
        }),
        ("merge", None, |args| {
            let mut all = hcl::Map::new();
            for value in args.into_values() {
                all.extend(value.as_object().cloned().unwrap_or_default());
            }
            Ok(Value::Object(all))
        }),
        ("coalesce", None, |args| {
            let mut values = args.into_values().into_iter();
            values.find(|value| !value.is_null()).ok_or_else(|| "all of its arguments are null".to_owned())
        }),
        ("and", Some(2), |args| Ok(truths(args)?.into_iter().all(|one| one).into())),
        ("or", Some(2), |args| Ok(truths(args)?.into_iter().any(|one| one).into())),
        ("not", Some(1), |args| Ok((!truths(args)?[0]).into())),
    ];
    for (name, count, func) in all {
        let builder = match count {
            None => FuncDef::builder().variadic_param(ParamType::Any),
            Some(count) => FuncDef::builder().params(vec![ParamType::Any; count]),
        };
        context.declare_func(name, builder.build(func));
    }
}

fn texts(args: FuncArgs) -> Vec<String> {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    args.into_values().into_iter().map(text).collect()
}

/// As truth values are written in files: the words too.
fn truths(args: FuncArgs) -> Result<Vec<bool>, String> {
    let truth = |value: Value| match &value {
        Value::Bool(yes) => Ok(*yes),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(format!("{other} is neither true nor false")),
    };
    args.into_values().into_iter().map(truth).collect()
}

/// What is in a list, or the values of a map.
fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Object(members) => members.values().cloned().collect(),
        _ => Vec::new(),
    }
}

fn flattened(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(flattened).collect(),
        other => vec![other.clone()],
    }
}
