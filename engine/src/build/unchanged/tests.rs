//! Builds that are told from a record beside the same builds made step by step, each in a store of its own that began as
//! a copy: the events, the records and the images are the same.

use super::super::build;
use crate::api::{Cancel, Context, NamedContext, Outcome, PruneRequest, Request, Target};
use crate::event::{Event, Sink};
use crate::explain::report::BuildReport;
use crate::explain::{Build, BuildId};
use crate::store::Store;
use crate::store::builds::{Head, Keys};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Sink for Kept {
    fn emit(&self, event: Event) {
        let event = match event {
            Event::BuildStarted { steps, .. } => Event::BuildStarted { build: String::new(), steps },
            Event::StepFinished { step, verdict, reason, why, .. } => {
                Event::StepFinished { step, verdict, reason, duration: 0.0, why }
            }
            other => other,
        };
        self.0.lock().unwrap().push(event);
    }
}

/// A project with a store.
struct Shop {
    dir: TempDir,
}

/// What a build gave, times left out.
struct Given {
    events: Vec<Event>,
    result: Result<Outcome, String>,
    build: Option<(Build, Keys)>,
    row: Option<crate::explain::report::BuildTotals>,
}

impl Given {
    /// One thing after the other, so that a difference is told in a few lines.
    fn assert_is(&self, expected: &Given) {
        for (found, expected) in self.events.iter().zip(&expected.events) {
            assert_eq!(found, expected);
        }
        assert_eq!(self.events.len(), expected.events.len());
        assert_eq!(self.result, expected.result);
        let (Some((build, keys)), Some((other, other_keys))) = (&self.build, &expected.build) else {
            assert_eq!(self.build.is_some(), expected.build.is_some());
            return;
        };
        for (found, expected) in build.steps.iter().zip(&other.steps) {
            assert_eq!(found, expected);
        }
        let head = |build: &Build| Build { steps: Vec::new(), ..build.clone() };
        assert_eq!((build.steps.len(), head(build)), (other.steps.len(), head(other)));
        assert_eq!(keys, other_keys);
        assert_eq!(self.row, expected.row);
    }
}

impl Shop {
    fn new(files: &[(&str, &str)]) -> Self {
        let shop = Shop { dir: tempfile::tempdir().unwrap() };
        for (path, content) in files {
            shop.write(path, content);
        }
        shop
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("project").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn request(&self) -> Request {
        // With a fixed time an image is the same whenever its steps ran.
        let request = Request::new(Context::Directory(self.at("")), self.store());
        Request { source_date_epoch: Some(1), ..request }
    }

    /// A copy of the store, gone with the directory.
    fn copied(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("cp").args(["-a", "--"]).arg(self.store()).arg(copy.path()).status();
        assert!(made.unwrap().success());
        copy
    }

    /// Builds in the store by record and in a copy of it step by step; says whether the former was told from a record.
    fn both(&self, request: &Request) -> bool {
        fs::create_dir_all(self.store()).unwrap();
        let copy = self.copied();
        let slow = Request { store: copy.path().join("store"), by_record: false, ..request.clone() };
        let (expected, _) = given(&slow);
        let (found, head) = given(request);
        found.assert_is(&expected);
        head.is_some_and(|head| head.is_unchanged)
    }
}

fn given(request: &Request) -> (Given, Option<Head>) {
    let kept = Kept::default();
    let result = build(request, &kept, &Cancel::new().unwrap());
    let store = Store::open(&request.store).unwrap();
    let stored = store.builds().unwrap().into_iter().next();
    let head = stored.as_ref().and_then(|stored| store.head(stored).unwrap());
    let read = stored.as_ref().and_then(|stored| store.build_with_keys(stored).unwrap());
    let own = read.as_ref().map(|(build, _)| build.id);
    let read = read.map(|(build, keys)| {
        let steps = build.steps.into_iter().map(|mut step| {
            step.duration = 0.0;
            if let Some(made) = step.made.as_mut().filter(|made| Some(made.build) == own) {
                (made.build, made.nanos, made.millis) = (BuildId::from_bytes([0; 6]), 0, 0);
            }
            step
        });
        let id = BuildId::from_bytes([0; 6]);
        (Build { id, started_nanos: 0, duration: 0.0, steps: steps.collect(), ..build }, keys)
    });
    let result = result.map(|outcome| Outcome { duration: 0.0, ..outcome }).map_err(|error| error.to_string());
    let mut events = kept.0.into_inner().unwrap();
    let mut row = head.as_ref().map(|head| head.totals.clone());
    if events.iter().any(|event| matches!(event, Event::StepStarted { .. })) {
        // What runs side by side ends in any order, and takes any time.
        row = None;
        events.sort_by_key(|event| match event {
            Event::StepStarted { step, .. } => (1, *step, 0),
            Event::StepLog { step, .. } => (1, *step, 1),
            Event::StepFinished { step, .. } => (1, *step, 2),
            _ => (0, 0, 0),
        });
    }
    (Given { events, result, build: read, row }, head)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const STAGES: &str = "FROM scratch AS a\nENV X=1\nWORKDIR /w/v\nCOPY one two/ ./\nLABEL l=$X\nFROM a AS b\nADD two /two\n\
                      COPY --from=a /w /w2\nARG P=q\nENV P2=$P\nFROM scratch\nCOPY --from=b / /all\nCMD [\"x\"]\n";
const MATRIX: &str = "FROM scratch AS m FOR V IN 1 2 3\nARG V\nWORKDIR /d$V\nCOPY one /\nFROM scratch AS n\nWORKDIR /n\n\
                      FROM m[1] + n AS all\nTARGET every = m[*] + all\n";
const RUNS: &str = "FROM kiln/host AS base\nARG N=0\nRUN echo $N > /out\nRUN --mount=type=bind,source=one,target=/o cat /o /out > /t\n\
                    FROM base\nCOPY two/x /x\nRUN --mount=type=cache,target=/c cat /x > /y\nUSER 5\nRUN true\n";

/// Dockerfiles with what they read, and whether a later build can be told from a record of them.
fn shapes() -> Vec<(&'static str, &'static str, bool)> {
    let mut all = vec![
        ("Dockerfile", "FROM scratch\n", true),
        ("Dockerfile", "FROM scratch\nENV A=1\nEXPOSE 80\n", true),
        ("Dockerfile", STAGES, true),
        (
            "Dockerfile",
            "FROM scratch\nCOPY --chown=1:2 --chmod=600 . /\nCOPY --exclude=*o* two /e\nCOPY --link l* /l/\n",
            true,
        ),
        ("Dockerfile", "FROM scratch\nADD <<EOF /e\nx\nEOF\nCOPY --parents two/./x /p/\nONBUILD COPY . /\n", true),
        ("Dockerfile", "FROM scratch\nMAINTAINER me\nENTRYPOINT one\nCOPY two/* /none/\nCOPY one one\n", true),
        ("build.kiln", MATRIX, true),
        (
            "build.kiln",
            "INCLUDE \"part.kiln\"\nFROM scratch\nUSE put(one)\nCHECK c\nFROM scratch AS c\nCOPY two /\n",
            true,
        ),
        ("build.kiln", "FROM scratch\nCOPY one /one\nEXPORT /one AS \"out\"\n", false),
    ];
    if is_root() {
        all.push(("Dockerfile", RUNS, true));
        all.push(("build.kiln", "FROM kiln/host\nRUN --key=files(one) cat /etc/passwd > /x\n", false));
        all.push(("Dockerfile", "FROM kiln/host\n# kiln: --key=always\nRUN true > /x\nCOPY one /\n", false));
    }
    all
}

const FILES: [(&str, &str); 6] = [
    ("one", "1"),
    ("two/x", "x"),
    ("two/y", "y"),
    ("unread", "u"),
    ("part.kiln", "DEF put(name)\nCOPY $name /d/\nEND\n"),
    (".dockerignore", "out\n*.tmp\n"),
];

#[test]
fn an_unchanged_build_says_and_keeps_what_the_ordinary_way_does_over_many_shapes() {
    for (name, text, is_told) in shapes() {
        let shop = Shop::new(&FILES);
        shop.write(name, text);
        fs::hard_link(shop.at("one"), shop.at("linked")).unwrap();
        let request =
            Request { tags: if name == "Dockerfile" { vec!["t:1".into()] } else { Vec::new() }, ..shop.request() };
        let told: Vec<bool> = (0..3).map(|_| shop.both(&request)).collect();
        assert_eq!(told, [false, is_told, is_told], "{text}");
        let (image, wanted) = (Request { want_image_id: true, ..request.clone() }, is_told && name == "Dockerfile");
        shop.both(&image);
        assert_eq!(shop.both(&image), is_told, "{wanted} {text}");
    }
}

#[test]
fn its_explanation_has_the_same_words() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", STAGES);
    let explained = |by_record| {
        let (given, head) = given(&Request { by_record, ..shop.request() });
        assert_eq!(head.unwrap().is_unchanged, by_record);
        let report = BuildReport::new(&given.build.unwrap().0);
        BuildReport { compared_with: None, ..report }
    };
    assert!(!shop.both(&shop.request()));
    let told = explained(true);
    assert_eq!(explained(false), told);
    assert_eq!(told.steps.iter().filter(|step| step.verdict.word() == "hit").count(), told.steps.len());
}

#[test]
fn other_targets_arguments_and_contexts_are_other_builds() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", STAGES);
    shop.write("lib/w/z", "z");
    let plain = shop.request();
    let of = |stage: &str| Request { targets: vec![Target::stage(stage)], ..shop.request() };
    let args = Request { build_args: vec![("P".into(), "r".into())], ..plain.clone() };
    let named = Request { contexts: vec![("a".into(), NamedContext::Directory(shop.at("lib")))], ..shop.request() };
    let requests = [&plain, &of("a"), &of("b"), &args, &named];
    for request in requests {
        assert!(!shop.both(request));
        assert!(shop.both(request), "{request:?}");
    }
    // Those of other stages have been compared with others; the same stage was asked for differently in between.
    let again: Vec<bool> = requests.iter().map(|request| shop.both(request)).collect();
    assert_eq!(again, [false, true, true, false, false]);
    for request in [
        Request { no_cache: true, ..plain.clone() },
        Request { verify: true, ..plain.clone() },
        Request { strict: true, ..plain.clone() },
        Request { outputs: vec![crate::api::Output::Local { dest: shop.dir.path().join("out") }], ..plain.clone() },
    ] {
        shop.both(&plain);
        assert!(!shop.both(&request), "{request:?}");
    }
}

#[test]
fn a_name_that_was_moved_comes_back_and_an_image_that_is_gone_is_made_again() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", STAGES);
    let request = Request { tags: vec!["t:1".into()], ..shop.request() };
    shop.both(&request);
    assert!(shop.both(&request));
    let store = Store::open(&shop.store()).unwrap();
    store.db().remove_name("docker.io/library/t:1").unwrap();
    store.flush().unwrap();
    drop(store);
    assert!(shop.both(&request));
    let store = Store::open(&shop.store()).unwrap();
    let image = store.db().name("docker.io/library/t:1").unwrap().unwrap();
    store.db().remove_image(image).unwrap();
    store.flush().unwrap();
    drop(store);
    assert!(!shop.both(&request));
    assert!(Store::open(&shop.store()).unwrap().db().image(image).unwrap().is_some());
}

#[test]
fn a_layer_that_somebody_took_away_is_made_again() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", "FROM scratch\nCOPY one /\nCOPY two /\n");
    shop.both(&shop.request());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(shop.both(&shop.request()));
    let layers = fs::read_dir(shop.store().join("layers")).unwrap();
    fs::remove_dir_all(layers.flatten().next().unwrap().path()).unwrap();
    assert!(!shop.both(&shop.request()));
    // One that came is no reason.
    assert!(shop.both(&shop.request()) || shop.both(&shop.request()));
    fs::create_dir(shop.store().join("layers").join("other")).unwrap();
    assert!(shop.both(&shop.request()));
}

#[test]
fn what_is_used_by_record_alone_counts_as_used() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", "FROM scratch\nCOPY one /\n");
    shop.both(&shop.request());
    assert!(shop.both(&shop.request()));
    let store = Store::open(&shop.store()).unwrap();
    for (key, record) in store.db().records().unwrap() {
        // As if it had been made long ago, and was never looked up since.
        let record = crate::store::Record { created_nanos: 1, ..record };
        store.db().put_record(crate::digest::StepId::from_bytes([9; 32]), key, &record).unwrap();
        store.db().remove_use(crate::store::Used::Record(key)).unwrap();
    }
    store.flush().unwrap();
    drop(store);
    let week = Some(std::time::Duration::from_secs(7 * 24 * 3600));
    let request = PruneRequest { all: true, older_than: week, keep_storage: None, dry_run: true, store: shop.store() };
    let report = crate::manage::prune(&request).unwrap();
    assert_eq!(report.removed.iter().filter(|one| one.kind == "record").count(), 0, "{report:?}");
}

/// Something that happens between two builds.
#[derive(Clone, Debug)]
enum Act {
    Write(&'static str, u8),
    Remove(&'static str),
    Link(&'static str),
    Mode(&'static str, u32),
    File(usize),
    Argument(u8),
    Platforms,
    Prune(bool),
    Untag,
    NoCache,
    LoseLayer(usize),
    Nothing,
}

fn act() -> impl Strategy<Value = Act> {
    let path = || {
        prop::sample::select(vec!["one", "two/x", "two/y", "two/new", "unread", "a.tmp", ".dockerignore", "part.kiln"])
    };
    prop_oneof![
        3 => (path(), 0u8..3).prop_map(|(path, content)| Act::Write(path, content)),
        1 => path().prop_map(Act::Remove),
        1 => path().prop_map(Act::Link),
        1 => (path(), prop::sample::select(vec![0o644, 0o600, 0o755])).prop_map(|(path, mode)| Act::Mode(path, mode)),
        2 => (0usize..20).prop_map(Act::File),
        1 => (0u8..2).prop_map(Act::Argument),
        1 => Just(Act::Platforms),
        1 => any::<bool>().prop_map(Act::Prune),
        1 => Just(Act::Untag),
        1 => Just(Act::NoCache),
        1 => (0usize..4).prop_map(Act::LoseLayer),
        4 => Just(Act::Nothing),
    ]
}

impl Act {
    fn happen(&self, shop: &Shop, request: &mut Request) {
        match self {
            Act::Write(".dockerignore", n) => shop.write(".dockerignore", ["", "two/y\n", "one\n"][usize::from(*n)]),
            Act::Write("part.kiln", n) => {
                shop.write("part.kiln", &format!("DEF put(name)\nCOPY $name /d{n}/\nEND\n"));
            }
            Act::Write(path, n) => shop.write(path, &n.to_string()),
            Act::Remove(path) => drop(fs::remove_file(shop.at(path))),
            Act::Link(path) => {
                let _ = fs::remove_file(shop.at(path));
                let _ = fs::hard_link(shop.at("two/x"), shop.at(path));
            }
            Act::Mode(path, mode) => {
                use std::os::unix::fs::PermissionsExt as _;
                let _ = fs::set_permissions(shop.at(path), fs::Permissions::from_mode(*mode));
            }
            Act::File(n) => {
                let shapes = shapes();
                let (name, text, _) = shapes[n % shapes.len()];
                let _ = (fs::remove_file(shop.at("Dockerfile")), fs::remove_file(shop.at("build.kiln")));
                shop.write(name, text);
            }
            Act::Argument(n) => request.build_args = vec![("P".into(), n.to_string()), ("N".into(), n.to_string())],
            Act::Platforms => {
                request.platforms = match request.platforms.is_empty() {
                    true => vec!["linux/amd64".into(), "linux/386".into()],
                    false => Vec::new(),
                };
            }
            Act::Prune(all) => {
                let (older_than, keep_storage) = (None, None);
                let prune = PruneRequest { all: *all, older_than, keep_storage, dry_run: false, store: shop.store() };
                crate::manage::prune(&prune).unwrap();
            }
            Act::Untag => {
                let _ = crate::manage::remove(&shop.store(), "t:1");
            }
            Act::NoCache => drop(given(&Request { no_cache: true, ..request.clone() })),
            Act::LoseLayer(n) => {
                if let Some(layer) = fs::read_dir(shop.store().join("layers")).unwrap().flatten().nth(*n) {
                    fs::remove_dir_all(layer.path()).unwrap();
                }
            }
            Act::Nothing => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_between_two_builds_a_build_by_record_is_the_one_step_by_step(
        start in 0usize..20,
        acts in proptest::collection::vec(act(), 1..10),
    ) {
        let shop = Shop::new(&FILES);
        let mut request = Request { tags: vec!["t:1".into()], ..shop.request() };
        Act::File(start).happen(&shop, &mut request);
        shop.both(&request);
        shop.both(&request);
        for act in &acts {
            act.happen(&shop, &mut request);
            shop.both(&request);
        }
    }
}

/// That a copy of a store is a store.
#[test]
fn the_copy_that_builds_are_compared_in_is_whole() {
    let shop = Shop::new(&FILES);
    shop.write("Dockerfile", STAGES);
    shop.both(&shop.request());
    let copy = shop.copied();
    let there = |path: &Path| fs::read_dir(path.join("layers")).unwrap().count();
    assert_eq!(there(&copy.path().join("store")), there(&shop.store()));
}
