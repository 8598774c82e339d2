//! Laws of key expressions: what is printed reads back, no text makes the reader panic, sums are sets.

use super::ast::*;
use super::period::{Period, Unit};
use super::selector::{Selector, SelectorPart};
use super::set::{KeySet, Names};
use super::{parse, parse_prefix};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Spanned};
use proptest::prelude::*;

fn nowhere(_: usize, _: usize) -> Span {
    Span::default()
}

fn read(text: &str) -> Expr {
    parse(text, &nowhere).unwrap_or_else(|error| panic!("{text}: {}", error.message))
}

/// What is wrong with `text`, in the form `code 'place': message [help]`.
fn wrong(text: &str) -> String {
    let told = |diagnostic: &Diagnostic| {
        let place = &text[diagnostic.span.start as usize..diagnostic.span.end as usize];
        let help = diagnostic.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{} '{place}': {}{help}", diagnostic.code, diagnostic.message)
    };
    match parse(text, &Span::new) {
        Err(diagnostic) => told(&diagnostic),
        Ok(expr) => {
            let mut out = Vec::new();
            let mut names = Names::default();
            names.resolve(&expr, &mut out);
            out.first().map_or_else(|| "nothing".to_owned(), told)
        }
    }
}

fn set(text: &str) -> KeySet {
    let mut out = Vec::new();
    let found = Names::default().resolve(&read(text), &mut out);
    found.unwrap_or_else(|| panic!("{text}: {out:?}"))
}

fn texts(set: &KeySet) -> Vec<String> {
    let element = |one: &super::set::Element| if one.optional { format!("{}?", one.text) } else { one.text.clone() };
    set.elements.iter().map(element).chain(set.without.iter().map(|one| format!("without {}", one.text))).collect()
}

#[test]
fn every_atom_and_normaliser_is_read_and_printed_in_one_form() {
    for text in [
        r#"files("src/**", "!src/gen/**") | names | mode"#,
        r#"files("context:a", "b") | content | owner | eol | sorted_lines | strip_comments"#,
        r#"files("stage:build:/out/*")"#,
        r#"files("!a", "b")"#,
        r#"absent("yarn.lock")"#,
        r#"json("package.json", ".dependencies", ".a[\"x.y\"][0]")"#,
        r#"toml("context:Cargo.toml", ".") + yaml("stage:b:x.yml", ".a")"#,
        r#"lines("requirements.txt", "^\\w+ \"x\"") | sorted_lines"#,
        "env(A, B) + arg(C) + secret(\"npm token\")",
        r#"run("node --version") | eol + image("node:22") + http("https://example.com/x") | eol"#,
        r#"git("head") + git("dirty") + git("sub/dir")"#,
        r#"time("1d") + platform + parent"#,
        "default - parent + deps",
        "optional(files(\"a\") + (traced - env(X)))",
        "always",
        "never",
    ] {
        assert_eq!(read(text).to_string(), text);
    }
    // Blanks, quotes where they need not be, and escapes that stay.
    assert_eq!(read(" env( \"A\" ,B )\t+a|names".split("+a").next().unwrap()).to_string(), "env(A, B)");
    assert_eq!(read(r#"secret(token)"#).to_string(), r#"secret("token")"#);
    assert_eq!(read(r#"lines("a","\d+")"#).to_string(), r#"lines("a", "\\d+")"#);
}

#[test]
fn the_longest_expression_is_taken_and_no_more() {
    for (text, taken) in [
        ("deps yarn install", "deps"),
        ("deps --mount=x y", "deps"),
        ("default - parent + files(\"go.sum\") go mod download", "default - parent + files(\"go.sum\")"),
        ("deps || true", "deps"),
        ("default (cd x && make)", "default"),
        ("files(\"a\") | eol cat", "files(\"a\") | eol"),
    ] {
        let parsed = parse_prefix(text, &nowhere).unwrap_or_else(|error| panic!("{text}: {}", error.message));
        assert_eq!(&text[..parsed.length], taken);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
    let all = [
        "",
        "+ a",
        "\"a\"",
        "a +",
        "a b",
        "a, b",
        "(a",
        "a)",
        "((a) b)",
        "files(\"a\"",
        "files(\"a)",
        "files(\"a\" \"b\")",
        "files(\"a\",)",
        "files(a)",
        "files((a))",
        "files()",
        "files(\"!a\")",
        "files(\"a[\")",
        "files(\"a\", \"context:b\")",
        "files (\"a\")",
        "files",
        "fiels(\"a\")",
        "nonsense(\"a\")",
        "parent(\"a\")",
        "optional",
        "optional()",
        "optional(time(\"1d\"))",
        "json(\"a\")",
        "json(\"a\", \"b\")",
        "json(\"a\", \".b[\")",
        "absent(\"a\", \"b\")",
        "absent(\"context:\")",
        "absent(\"stage:x\")",
        "lines(\"a\")",
        "env(1A)",
        "env()",
        "http(\"ftp://x\")",
        "time(\"1 day\")",
        "time(1d)",
        "run(\"\")",
        "files(\"a\") | nmaes",
        "files(\"a\") |",
        "env(A) | names",
        "run(\"x\") | content",
        "files(\"a\") | eol | eol",
        "(files(\"a\")) | eol",
        "a",
        "always + env(A)",
        "env(A) + never",
        "env(A) - env(B)",
        "env(A) - parent",
        "traced - parent",
        "default - files(\"a\")",
        "env(A) - env(A) - env(A)",
    ];
    let told: Vec<String> = all.iter().map(|text| format!("{text}\n    {}", wrong(text))).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn too_many_parentheses_and_parts_are_told_not_walked_into() {
    let deep = "(".repeat(100_000);
    assert!(wrong(&deep).starts_with("InvalidKey '(': more than 64 parentheses"));
    let many: Vec<String> = (0..300).map(|n| format!("env(A{n})")).collect();
    assert!(wrong(&many.join(" + ")).contains("a key has at most 256 parts"));
}

#[test]
fn sums_are_sets_and_only_what_is_in_them_is_taken_out() {
    assert_eq!(texts(&set("env(A, B) + env(A)")), ["env(A)", "env(B)"]);
    assert_eq!(texts(&set("env(A, B) - env(A)")), ["env(B)"]);
    assert_eq!(texts(&set("(env(A) + arg(B)) - (arg(B) + env(A)) + platform")), ["platform"]);
    assert_eq!(texts(&set("default - parent + files(\"go.sum\")")), ["default", "files(\"go.sum\")", "without parent"]);
    assert_eq!(texts(&set("default - parent + parent")), ["default", "parent"]);
    assert_eq!(texts(&set("default - env(A) - default + env(A)")), ["env(A)"]);
    assert_eq!(texts(&set("optional(env(A)) + env(B)")), ["env(A)?", "env(B)"]);
    assert_eq!(texts(&set("optional(env(A)) + env(A)")), ["env(A)"]);
    assert_eq!(texts(&set("json(\"a\", \".b\", \".c\")")), ["json(\"a\", \".b\")", "json(\"a\", \".c\")"]);
    assert_eq!(texts(&set("files(\"a\") | mode | names")), ["files(\"a\") | names | mode"]);
}

fn spanned(text: String) -> Spanned<String> {
    Spanned::new(text, Span::default())
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,5}".prop_filter("a free word", |name| !super::is_reserved(name))
}

fn text() -> impl Strategy<Value = Spanned<String>> {
    "[^:!]{1,6}".prop_map(spanned)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Snapshot), Just(Place::Context), name().prop_map(|name| Place::Stage(spanned(name))),]
}

fn path() -> impl Strategy<Value = PathArg> {
    (place(), text()).prop_map(|(place, path)| PathArg { place, path })
}

fn atom() -> impl Strategy<Value = Atom> {
    let globs = proptest::collection::vec((any::<bool>(), "[a-z*/.]{1,5}"), 1..4);
    let files = (place(), globs).prop_map(|(place, globs)| {
        let mut globs: Vec<Glob> =
            globs.into_iter().map(|(negated, glob)| Glob { negated, pattern: spanned(glob) }).collect();
        globs[0].negated = false;
        Atom::Files(Files { place, globs })
    });
    let part = prop_oneof![(0u32..9).prop_map(SelectorPart::Index), "[^\0]{0,4}".prop_map(SelectorPart::Member)];
    let selector =
        proptest::collection::vec(part, 0..3).prop_map(|parts| Spanned::new(Selector { parts }, Span::default()));
    let format = prop_oneof![Just(DataFormat::Json), Just(DataFormat::Toml), Just(DataFormat::Yaml)];
    let data = (format, path(), proptest::collection::vec(selector, 1..3))
        .prop_map(|(format, path, selectors)| Atom::Data { format, path, selectors });
    let names = || proptest::collection::vec(name().prop_map(spanned), 1..3);
    let unit =
        prop_oneof![Just(Unit::Seconds), Just(Unit::Minutes), Just(Unit::Hours), Just(Unit::Days), Just(Unit::Weeks)];
    let period = (1u32.., unit).prop_filter_map("above zero", |(count, unit)| Period::new(count, unit));
    let bare = prop_oneof![
        Just(Atom::Platform),
        Just(Atom::Parent),
        Just(Atom::Traced),
        Just(Atom::Default),
        Just(Atom::Always),
        Just(Atom::Never),
        Just(Atom::Git(Git::Head)),
        Just(Atom::Git(Git::Dirty)),
    ];
    prop_oneof![
        files,
        path().prop_map(Atom::Absent),
        data,
        (path(), text()).prop_map(|(path, pattern)| Atom::Lines { path, pattern }),
        names().prop_map(Atom::Env),
        names().prop_map(Atom::Arg),
        text().prop_map(Atom::Secret),
        text().prop_map(Atom::Run),
        text().prop_map(Atom::Image),
        "[a-z]{1,4}".prop_map(|host| Atom::Http(spanned(format!("https://{host}")))),
        "[a-c]{1,4}".prop_map(|path| Atom::Git(Git::Path(spanned(path)))),
        period.prop_map(Atom::Time),
        bare,
    ]
}

fn term(factor: Factor, wanted: &[Normaliser]) -> Term {
    let taken: Vec<Normaliser> = match &factor {
        Factor::Atom(atom) => wanted.iter().copied().filter(|one| atom.takes(*one)).collect(),
        _ => Vec::new(),
    };
    let normalisers = taken.into_iter().map(|one| Spanned::new(one, Span::default())).collect();
    Term { factor, normalisers, span: Span::default() }
}

fn expr() -> impl Strategy<Value = Expr> {
    let wanted = || proptest::sample::subsequence(Normaliser::ALL.to_vec(), 0..3);
    let leaf = prop_oneof![
        (atom(), wanted()).prop_map(|(atom, wanted)| term(Factor::Atom(atom), &wanted)),
        name().prop_map(|name| term(Factor::Name(name), &[])),
    ];
    let sign = || prop_oneof![Just(Sign::Plus), Just(Sign::Minus)];
    let sum = move |terms: Vec<(Sign, Term)>| {
        let mut terms = terms;
        terms[0].0 = Sign::Plus;
        Expr { terms, span: Span::default() }
    };
    let terms = leaf.prop_recursive(3, 12, 3, move |inner| {
        let inner = proptest::collection::vec((sign(), inner), 1..3).prop_map(sum);
        (any::<bool>(), inner).prop_map(|(optional, expr)| {
            let factor = if optional { Factor::Optional(Box::new(expr)) } else { Factor::Group(Box::new(expr)) };
            term(factor, &[])
        })
    });
    proptest::collection::vec((sign(), terms), 1..4).prop_map(sum)
}

proptest! {
    #[test]
    fn a_printed_expression_reads_as_itself(expr in expr()) {
        let text = expr.to_string();
        match parse(&text, &nowhere) {
            Ok(again) => prop_assert_eq!(again, expr, "{}", text),
            Err(error) => prop_assert!(false, "{}: {}", text, error.message),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(&text, &Span::new);
    }

    #[test]
    fn no_text_of_the_languages_own_words_makes_the_reader_panic(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "files", "json", "optional", "default", "always", "time", "env", "(", ")", "\"", "\"a\"", "\"1d\"", ",",
                "+", "-", "|", " ", "names", "eol", "a", "\\", "é", "!", "\"stage:x:y\"", "\"context:\"",
            ]),
            0..24,
        ),
    ) {
        let text = words.concat();
        if let Ok(expr) = parse(&text, &Span::new) {
            prop_assert_eq!(&expr.to_string(), &parse(&expr.to_string(), &Span::new).unwrap().to_string());
            Names::default().resolve(&expr, &mut Vec::new());
        }
    }
}
