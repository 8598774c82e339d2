//! Parts against a world in memory that can be changed and that can fail.

use super::*;
use crate::key::declared::{Glob, LinePattern};
use crate::tree::{Kind, Mtime};
use kiln_dsl::key::{self, Atom, DataFormat, Factor, Normaliser, Period, Selector};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A world of one place.
#[derive(Clone, Default)]
struct Fake {
    files: BTreeMap<TreePath, (Kind, u32, u32, Vec<u8>)>,
    secrets: BTreeMap<String, String>,
    outputs: BTreeMap<String, Vec<u8>>,
    images: BTreeMap<String, String>,
    answers: BTreeMap<String, Vec<u8>>,
    git: Option<(String, bool)>,
    now: i64,
    /// What fails to be read.
    broken: Option<TreePath>,
    reads: RefCell<usize>,
}

impl Fake {
    fn with(mut self, path: &str, content: &str) -> Self {
        self.put(path, content);
        self
    }

    fn put(&mut self, path: &str, content: &str) {
        let path = TreePath::new(path);
        for dir in path.ancestors().into_iter().filter(|dir| !dir.is_root()) {
            self.files.entry(dir).or_insert((Kind::Dir { opaque: false }, 0o755, 0, Vec::new()));
        }
        let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
        self.files.insert(path, (kind, 0o644, 0, content.as_bytes().to_vec()));
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        let kind = Kind::Symlink { target: target.as_bytes().into() };
        self.files.insert(TreePath::new(path), (kind, 0o777, 0, Vec::new()));
        self
    }

    fn entry_of(&self, path: &TreePath) -> Option<Entry> {
        let (kind, mode, uid, _) = self.files.get(path)?.clone();
        Some(Entry { path: path.clone(), kind, mode, uid, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() })
    }
}

impl World for Fake {
    fn resolve(&self, _: &Place, path: &TreePath) -> Result<TreePath, Fault> {
        let lookup = |path: &TreePath| {
            Ok(self.entry_of(path).map(|entry| crate::snapshot::Found {
                file_type: match entry.kind {
                    Kind::Symlink { target } => crate::snapshot::Type::Symlink(target),
                    Kind::Dir { .. } => crate::snapshot::Type::Dir,
                    _ => crate::snapshot::Type::File,
                },
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime,
                xattrs: entry.xattrs,
            }))
        };
        Ok(crate::snapshot::resolve_with(path, true, &lookup)?)
    }

    fn entry(&self, _: &Place, path: &TreePath) -> Result<Option<Entry>, Fault> {
        match self.broken.as_ref() == Some(path) {
            true => Err("the disk is broken".into()),
            false => Ok(self.entry_of(path)),
        }
    }

    fn below(&self, _: &Place, dir: &TreePath) -> Result<Vec<Entry>, Fault> {
        let all = self.files.keys().filter(|path| path.starts_with(dir) && *path != dir);
        Ok(all.filter_map(|path| self.entry_of(path)).collect())
    }

    fn read(&self, _: &Place, path: &TreePath) -> Result<Vec<u8>, Fault> {
        *self.reads.borrow_mut() += 1;
        Ok(self.files.get(path).map(|file| file.3.clone()).unwrap_or_default())
    }

    fn secret(&self, id: &str) -> Result<Option<String>, Fault> {
        Ok(self.secrets.get(id).map(|value| blake3::keyed_hash(&[7; 32], value.as_bytes()).to_string()))
    }

    fn run(&self, command: &str) -> Result<Vec<u8>, Fault> {
        self.outputs.get(command).cloned().ok_or_else(|| "exit code 127".into())
    }

    fn image(&self, name: &str, _: &Platform) -> Result<Option<String>, Fault> {
        Ok(self.images.get(name).cloned())
    }

    fn http(&self, url: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.answers.get(url).cloned())
    }

    fn git(&self, _: Option<usize>, what: &Git) -> Result<Option<String>, Fault> {
        let Some((head, dirty)) = &self.git else { return Ok(None) };
        Ok(match what {
            Git::Head => Some(head.clone()),
            Git::Dirty => Some(if *dirty { "dirty" } else { "clean" }.to_owned()),
            Git::Path(path) => (path.value == "src").then(|| format!("tree of {head}")),
        })
    }

    fn now(&self) -> i64 {
        self.now
    }
}

/// The parts of an expression, as a plan for a step in `/app` makes them; its variables are not set.
fn parts(text: &str) -> Vec<Part> {
    let expr = key::parse(text, &kiln_dsl::span::Span::new).unwrap_or_else(|error| panic!("{text}: {}", error.message));
    let mut all = Vec::new();
    for (_, term) in expr.terms {
        let (atoms, optional) = match term.factor {
            Factor::Atom(atom) => (vec![(atom, term.normalisers)], false),
            Factor::Optional(expr) => {
                let inner = expr.terms.into_iter().filter_map(|(_, term)| match term.factor {
                    Factor::Atom(atom) => Some((atom, term.normalisers)),
                    _ => None,
                });
                (inner.collect(), true)
            }
            _ => panic!("no atom: {text}"),
        };
        for (atom, normalisers) in atoms {
            let written = atom.to_string();
            all.push(Part {
                label: written.clone(),
                text: written,
                span: term.span,
                optional,
                normalisers: normalisers.into_iter().map(|one| one.value).collect(),
                what: what(atom),
            });
        }
    }
    all
}

fn what(atom: Atom) -> What {
    let from = TreePath::new("app");
    let path = |path: key::PathArg| {
        let glob = Glob::new(false, &path.path.value, &from);
        PlacedPath { place: Place::Snapshot, path: glob.base }
    };
    match atom {
        Atom::Files(files) => What::Files {
            place: Place::Snapshot,
            globs: files.globs.iter().map(|glob| Glob::new(glob.negated, &glob.pattern.value, &from)).collect(),
        },
        Atom::Absent(at) => What::Absent(path(at)),
        Atom::Data { format, path: at, mut selectors } => {
            What::Data { format, path: path(at), selector: selectors.remove(0).value }
        }
        Atom::Lines { path: at, pattern } => {
            What::Lines { path: path(at), pattern: LinePattern(regex_lite::Regex::new(&pattern.value).unwrap()) }
        }
        Atom::Env(_) | Atom::Arg(_) => {
            What::Variable { kind: crate::key::declared::Variable::Env, name: String::new(), value: None }
        }
        Atom::Secret(id) => What::Secret(id.value),
        Atom::Run(command) => What::Run(command.value),
        Atom::Image(name) => What::Image { name: name.value, platform: Platform::host() },
        Atom::Http(url) => What::Http(url.value),
        Atom::Git(what) => What::Git { context: Some(0), what },
        Atom::Time(period) => What::Time(period),
        other => panic!("the plan's part: {other}"),
    }
}

fn evaluated(text: &str, world: &Fake) -> Vec<Evaluated> {
    evaluate(&parts(text), world).unwrap_or_else(|error| panic!("{error}"))
}

fn told(text: &str, world: &Fake) -> String {
    match evaluate(&parts(text), world) {
        Ok(all) => all.iter().map(|one| format!("{:?}", one.component.value)).collect::<Vec<_>>().join(" "),
        Err(error) => match (&error.source, error.advice()) {
            (Some(source), _) => format!("{error}: {source}"),
            (None, Some(advice)) => format!("{error} [{advice}]"),
            (None, None) => error.to_string(),
        },
    }
}

/// Whether a change of the world changes what a key comes to.
fn changes(text: &str, world: &Fake, change: impl FnOnce(&mut Fake)) -> bool {
    let before = evaluated(text, world);
    let mut after = world.clone();
    change(&mut after);
    before != evaluated(text, &after)
}

fn project() -> Fake {
    Fake::default()
        .with("app/package.json", r#"{"dependencies": {"a": "1"}, "scripts": {"x": "y"}}"#)
        .with("app/src/index.js", "1")
        .with("app/src/gen/out.js", "1")
        .with("app/requirements.txt", "# x\nb==1\na==1\n")
        .with("etc/conf", "1")
        .link("app/conf", "/etc/conf")
}

fn mode(world: &mut Fake, path: &str, mode: u32) {
    world.files.get_mut(&TreePath::new(path)).unwrap().1 = mode;
}

#[test]
fn files_count_by_their_patterns() {
    let world = project();
    let key = r#"files("src/**", "!src/gen/**")"#;
    assert!(changes(key, &world, |world| world.put("app/src/index.js", "2")));
    assert!(changes(key, &world, |world| world.put("app/src/new.js", "")));
    assert!(changes(key, &world, |world| mode(world, "app/src/index.js", 0o755)));
    assert!(!changes(key, &world, |world| world.put("app/src/gen/out.js", "2")));
    assert!(!changes(key, &world, |world| world.put("app/other", "2")));
    // A directory takes in what is below it; a path is followed where it is a link.
    assert!(changes(r#"files("src")"#, &world, |world| world.put("app/src/gen/out.js", "2")));
    assert!(changes(r#"files("conf")"#, &world, |world| world.put("etc/conf", "2")));
    assert!(changes(r#"files("/etc")"#, &world, |world| world.put("etc/conf", "2")));
    assert!(changes(r#"files("../etc/conf")"#, &world, |world| world.put("etc/conf", "2")));
    assert!(!changes(r#"files("*.json")"#, &world, |world| world.put("app/src/x.json", "2")));
}

#[test]
fn normalisers_say_what_of_a_file_counts() {
    let world = project();
    let changed: [fn(&mut Fake); 4] = [
        |world| world.put("app/src/index.js", "2"),
        |world| mode(world, "app/src/index.js", 0o600),
        |world| world.files.get_mut(&TreePath::new("app/src/index.js")).unwrap().2 = 5,
        |world| world.put("app/src/z", ""),
    ];
    for (normalisers, expected) in [
        ("", [true, true, true, true]),
        ("| names", [false, false, false, true]),
        ("| content", [true, false, false, true]),
        ("| mode", [false, true, false, true]),
        ("| owner | content", [true, false, true, true]),
        ("| eol", [true, true, true, true]),
    ] {
        let key = format!(r#"files("src") {normalisers}"#);
        let found = changed.map(|change| changes(&key, &world, change));
        assert_eq!(found, expected, "{key}");
    }
    let crlf: fn(&mut Fake) = |world| world.put("app/requirements.txt", "# x\r\nb==1\r\na==1\r\n");
    let sorted: fn(&mut Fake) = |world| world.put("app/requirements.txt", "# x\na==1\nb==1\n");
    let bare: fn(&mut Fake) = |world| world.put("app/requirements.txt", "b==1\na==1\n");
    for (normaliser, expected) in
        [("eol", [false, true, true]), ("sorted_lines", [true, false, true]), ("strip_comments", [true, true, false])]
    {
        let key = format!(r#"files("requirements.txt") | {normaliser}"#);
        assert_eq!([crlf, sorted, bare].map(|change| changes(&key, &world, change)), expected, "{key}");
    }
}

#[test]
fn values_and_lines_count_alone() {
    let world = project();
    let key = r#"json("package.json", ".dependencies")"#;
    let edit = |text: &'static str| move |world: &mut Fake| world.put("app/package.json", text);
    assert!(changes(key, &world, edit(r#"{"dependencies": {"a": "2"}}"#)));
    assert!(!changes(key, &world, edit(r#"{"scripts": {"x": "z"}, "dependencies":{ "a":"1" }}"#)));
    let key = r#"lines("requirements.txt", "^[a-z]")"#;
    assert!(changes(key, &world, |world| world.put("app/requirements.txt", "b==2\na==1\n")));
    assert!(!changes(key, &world, |world| world.put("app/requirements.txt", "# y\nb==1\n# z\na==1\n")));
    assert!(changes(r#"absent("yarn.lock")"#, &world, |world| world.put("app/yarn.lock", "")));
    assert!(!changes(r#"absent("src")"#, &world, |world| world.put("app/src/index.js", "2")));
}

#[test]
fn the_rest_of_the_world_counts_by_what_it_answers() {
    let mut world = project();
    world.secrets.insert("token".into(), "hush".into());
    world.outputs.insert("node -v".into(), b"v1\r\n".to_vec());
    world.images.insert("node".into(), "sha256:1".into());
    world.answers.insert("https://x".into(), b"1".to_vec());
    world.git = Some(("c1".into(), false));
    assert!(changes("secret(token)", &world, |world| drop(world.secrets.insert("token".into(), "hash".into()))));
    assert!(!told("secret(token)", &world).contains("hush"));
    let output =
        |text: &'static [u8]| move |world: &mut Fake| drop(world.outputs.insert("node -v".into(), text.to_vec()));
    assert!(changes(r#"run("node -v")"#, &world, output(b"v1\n")));
    assert!(!changes(r#"run("node -v") | eol"#, &world, output(b"v1\n")));
    assert!(changes(r#"image("node")"#, &world, |world| drop(world.images.insert("node".into(), "2".into()))));
    assert!(changes(r#"http("https://x")"#, &world, |world| drop(
        world.answers.insert("https://x".into(), b"2".to_vec())
    )));
    assert!(changes(r#"git("head")"#, &world, |world| world.git = Some(("c2".into(), false))));
    assert!(changes(r#"git("dirty")"#, &world, |world| world.git = Some(("c1".into(), true))));
    assert!(!changes(r#"git("dirty")"#, &world, |world| world.git = Some(("c2".into(), false))));
    assert!(changes(r#"git("src")"#, &world, |world| world.git = Some(("c2".into(), false))));
}

#[test]
fn time_passes_in_buckets() {
    let mut world = Fake { now: 86_399, ..project() };
    assert_eq!(told(r#"time("1d")"#, &world), r#"Text("since 1970-01-01T00:00:00Z")"#);
    assert!(!changes(r#"time("1d")"#, &world, |world| world.now = 0));
    assert!(changes(r#"time("1d")"#, &world, |world| world.now = 86_400));
    world.now = -1;
    assert_eq!(told(r#"time("1d")"#, &world), r#"Text("since 1969-12-31T00:00:00Z")"#);
    assert!(told(r#"time("4294967295w")"#, &world).starts_with("Text"));
}

#[test]
fn what_finds_nothing_is_told_unless_it_is_optional() {
    let mut world = project().with("app/bad.json", "{").with("app/odd.foo", "x");
    world.broken = Some(TreePath::new("app/broken"));
    let all = [
        r#"files("none")"#,
        r#"files("src/**", "*.css")"#,
        r#"files("src/**", "!src")"#,
        r#"files("odd.foo") | strip_comments"#,
        r#"json("none.json", ".")"#,
        r#"json("src", ".")"#,
        r#"json("bad.json", ".")"#,
        r#"json("package.json", ".devDependencies")"#,
        r#"json("broken", ".")"#,
        r#"lines("requirements.txt", "^c")"#,
        "env(A)",
        "secret(token)",
        r#"run("false")"#,
        r#"image("none")"#,
        r#"http("https://none")"#,
        r#"git("head")"#,
    ];
    let lines: Vec<String> = all.iter().map(|text| told(text, &world)).collect();
    insta::assert_snapshot!(lines.join("\n"));
    for text in all {
        let optional = told(&format!("optional({text})"), &world);
        let expected = if lines.contains(&optional) { optional.clone() } else { String::new() };
        assert_eq!(optional, expected, "{text}");
    }
}

#[test]
fn an_optional_part_counts_by_being_there() {
    let world = project();
    let key = r#"optional(files("yarn.lock"))"#;
    assert_eq!(evaluated(key, &world), []);
    assert!(changes(key, &world, |world| world.put("app/yarn.lock", "")));
}

#[test]
fn contents_are_not_read_where_their_digest_is_known() {
    let world = project();
    evaluated(r#"files("**") + absent("x")"#, &world);
    assert_eq!(*world.reads.borrow(), 0);
}

#[test]
fn long_values_are_kept_as_their_digest() {
    let text = format!("[{}]", vec!["1"; 4_000].join(","));
    let world = Fake::default().with("app/a.json", &text);
    let shown = told(r#"json("a.json", ".")"#, &world);
    assert!(shown.starts_with("Text(\"b3:") && shown.ends_with("(8001 bytes)\")"), "{shown}");
}

proptest! {
    /// Whatever is edited, a key changes exactly where one of the files that it selects does.
    #[test]
    fn a_key_of_files_changes_exactly_with_the_files_that_it_names(
        old in proptest::collection::btree_map("[ab]{1,2}(/[ab]{1,2})?", "[xy]", 1..6),
        new in proptest::collection::btree_map("[ab]{1,2}(/[ab]{1,2})?", "[xy]", 1..6),
        top in "[ab]",
    ) {
        // A path cannot be a file and a directory.
        let clean = |files: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            files.iter().filter(|(path, _)| !files.keys().any(|other| other.starts_with(&format!("{path}/"))))
                .map(|(path, content)| (path.clone(), content.clone())).collect()
        };
        let (old, new) = (clean(&old), clean(&new));
        let world = |files: &BTreeMap<String, String>| {
            files.iter().fold(Fake::default(), |world, (path, content)| world.with(&format!("app/{path}"), content))
        };
        let chosen = |files: &BTreeMap<String, String>| -> Vec<(String, String)> {
            let is_chosen = |path: &str| path == top || path.starts_with(&format!("{top}/"));
            files.iter().filter(|(path, _)| is_chosen(path)).map(|(path, content)| (path.clone(), content.clone())).collect()
        };
        let key = format!(r#"optional(files("{top}"))"#);
        let same = evaluated(&key, &world(&old)) == evaluated(&key, &world(&new));
        prop_assert_eq!(same, chosen(&old) == chosen(&new));
    }

    #[test]
    fn no_values_make_evaluation_panic(
        content in proptest::collection::vec(any::<u8>(), 0..40),
        format in proptest::sample::select(vec![DataFormat::Json, DataFormat::Toml, DataFormat::Yaml]),
        seconds in 1u32..,
        now in any::<i64>(),
    ) {
        let mut world = Fake { now, ..Fake::default() };
        let kind = Kind::File { size: 0, content: blake3::hash(&content).into() };
        world.files.insert(TreePath::new("app/x.sh"), (kind, 0o644, 0, content));
        let path = PlacedPath { place: Place::Snapshot, path: TreePath::new("app/x.sh") };
        let part = |what| Part {
            label: String::new(), text: String::new(), span: Span::default(), optional: false,
            normalisers: vec![Normaliser::Eol, Normaliser::SortedLines, Normaliser::StripComments], what,
        };
        let period = Period::new(seconds, kiln_dsl::key::Unit::Weeks).unwrap();
        let all = [
            part(What::Data { format, path: path.clone(), selector: Selector::default() }),
            part(What::Lines { path, pattern: LinePattern(regex_lite::Regex::new(".").unwrap()) }),
            part(What::Time(period)),
        ];
        for part in all {
            let _ = evaluate(&[part], &world);
        }
    }
}
