//! Those of bake's functions that files use most. Pure.

mod more;

use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};

/// Declares them.
pub fn declare_functions(context: &mut Context<'_>) {
    fn texts(args: FuncArgs) -> Vec<String> {
        args.into_values()
            .into_iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect()
    }
    let one = |func| FuncDef::builder().param(ParamType::String).build(func);
    let two = |func| FuncDef::builder().params([ParamType::Any, ParamType::Any]).build(func);
    context.declare_func("lower", one(|args| Ok(texts(args).concat().to_lowercase().into())));
    context.declare_func("upper", one(|args| Ok(texts(args).concat().to_uppercase().into())));
    context.declare_func("trimspace", one(|args| Ok(texts(args).concat().trim().into())));
    context.declare_func(
        "sanitize",
        one(|args| {
            Ok(texts(args)
                .concat()
                .replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'), "_")
                .into())
        }),
    );
    context.declare_func("equal", two(|args| Ok(matches!(args.into_values().as_slice(), [a, b] if a == b).into())));
    context.declare_func("notequal", two(|args| Ok(matches!(args.into_values().as_slice(), [a, b] if a != b).into())));
    context.declare_func(
        "join",
        FuncDef::builder().params([ParamType::String, ParamType::array_of(ParamType::Any)]).build(|args| {
            let mut values = args.into_values().into_iter();
            let by = values.next().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            let items = values.next().and_then(|value| value.as_array().cloned()).unwrap_or_default();
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            Ok(items.join(&by).into())
        }),
    );
    context.declare_func(
        "split",
        FuncDef::builder().params([ParamType::String, ParamType::String]).build(|args| {
            let texts = texts(args);
            Ok(texts[1].split(&texts[0]).map(str::to_owned).collect::<Vec<_>>().into())
        }),
    );
    context.declare_func(
        "replace",
        FuncDef::builder().params([ParamType::String, ParamType::String, ParamType::String]).build(|args| {
            let texts = texts(args);
            Ok(texts[0].replace(&texts[1], &texts[2]).into())
        }),
    );
    context.declare_func(
        "concat",
        FuncDef::builder().variadic_param(ParamType::array_of(ParamType::Any)).build(|args| {
            let lists = args.into_values().into_iter().filter_map(|value| value.as_array().cloned());
            Ok(lists.flatten().collect::<Vec<_>>().into())
        }),
    );
    more::declare(context);
}
