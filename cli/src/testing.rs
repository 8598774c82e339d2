//! For the commands' tests: an engine that replays a script, and the program's whole output as one text.

use crate::app;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::render::screen::Size;
use crate::session::Session;
use crate::streams::memory::Memory;
use kiln_engine::api::{
    BuildError, Built, Cancel, CheckReport, CheckRequest, Exit, FsckReport, HistoryRow, ImageDetail, ImageSummary,
    ImportRequest, Kept, ManageError, Outcome, Problem, PruneReport, PruneRequest, Pruned, Removal, Request, Target,
};
use kiln_engine::build::Outline;
use kiln_engine::container::{RunRequest, Runner};
use kiln_engine::digest::{ImageKey, LayerId, Sha256};
use kiln_engine::event::{Counts, Event, Sink, Stream};
use kiln_engine::explain::report::{BuildReport, BuildRow, BuildTotals, StepDetail};
use kiln_engine::manage::Which;
use kiln_engine::sandbox::Attached;
use kiln_engine::watch::{self, Driver};
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

mod explained;

/// The present of all tests: 2023-11-14, 22:13:20 UTC.
pub const NOW: i64 = 1_700_000_000;

/// Replays its events and then fails with its error, if it has one; knows the images of [`images`].
#[derive(Default)]
pub struct Fake {
    pub events: Vec<Event>,
    pub error: RefCell<Option<BuildError>>,
    pub requested: RefCell<Option<Request>>,
    pub all_requested: RefCell<Vec<Request>>,
    pub pruned: RefCell<Option<PruneRequest>>,
    pub ran: RefCell<Option<RunRequest>>,
}

impl Fake {
    /// One that replays these.
    pub fn replaying(events: Vec<Event>) -> Self {
        Fake { events, ..Fake::default() }
    }

    fn find(name: &str) -> Result<ImageSummary, ManageError> {
        let full = format!("docker.io/library/{name}:latest");
        images().into_iter().find(|image| image.names.contains(&full)).ok_or_else(|| ManageError::UnknownImage {
            name: name.to_owned(),
            similar: "app".starts_with(name).then(|| "app".to_owned()),
        })
    }
}

impl Engine for Fake {
    fn build(&self, request: &Request, sink: &dyn Sink, cancel: &Cancel) -> Result<Outcome, BuildError> {
        assert!(!cancel.is_cancelled());
        self.all_requested.borrow_mut().push(request.clone());
        *self.requested.borrow_mut() = Some(request.clone());
        self.events.iter().for_each(|event| sink.emit(event.clone()));
        match self.error.borrow_mut().take() {
            Some(error) => Err(error),
            None => {
                let id = |built: Built| Built { image_id: built.image_id.filter(|_| request.want_image_id), ..built };
                let one = id(built());
                let named = |target: &Target| Built { name: target.stage.clone().unwrap_or_default(), ..one.clone() };
                let results = match request.targets.as_slice() {
                    [] | [_] => vec![one],
                    several => several.iter().map(named).collect(),
                };
                Ok(Outcome { results, ..outcome() })
            }
        }
    }

    fn check(&self, request: &CheckRequest) -> Result<CheckReport, BuildError> {
        // A check reads files only, so that tests can give it some.
        kiln_engine::check::check(&CheckRequest { store: None, ..request.clone() })
    }

    fn watch(&self, driver: &dyn Driver, _: &watch::Options, _: &Cancel) -> Result<(), BuildError> {
        for round in 0..2 {
            let request = driver.request().expect("the arguments mean something");
            *self.requested.borrow_mut() = Some(request.clone());
            if round > 0 {
                driver.changed(&["src/index.js".into(), "b".into()]);
            }
            let sink = driver.begin();
            self.events.iter().for_each(|event| sink.emit(event.clone()));
            drop(sink);
            driver.ended(
                watch::Ended::Whole(match self.error.borrow_mut().take() {
                    Some(error) => Err(error),
                    None => Ok(outcome()),
                }),
                &Runner::new(Path::new("/nowhere")),
            );
        }
        Ok(())
    }

    fn plan(
        &self,
        request: &Request,
        _changed: &[PathBuf],
        _sink: &dyn Sink,
        _cancel: &Cancel,
    ) -> Result<BuildReport, BuildError> {
        *self.requested.borrow_mut() = Some(request.clone());
        Ok(BuildReport::new(&explained::builds()[1]).planned())
    }

    fn outline(&self, request: &Request) -> Result<Outline, BuildError> {
        kiln_engine::build::outline(request)
    }

    fn builds(&self, _store: &Path) -> Result<Vec<BuildRow>, ManageError> {
        let rows = explained::builds();
        Ok(rows.iter().map(|build| BuildRow::new(build, &BuildTotals::new(build))).collect())
    }

    fn is_build(&self, _store: &Path, name: &str) -> Result<bool, ManageError> {
        Ok(name.len() >= 4 && explained::builds().iter().any(|build| build.id.to_string().starts_with(name)))
    }

    fn explain(&self, _store: &Path, which: Which<'_>) -> Result<BuildReport, ManageError> {
        explained::find(which.name).map(|build| BuildReport::new(&build))
    }

    fn explain_step(&self, _store: &Path, which: Which<'_>, step: &str) -> Result<StepDetail, ManageError> {
        explained::step(which.name, step)
    }

    fn log(&self, _store: &Path, _which: Which<'_>, _step: &str) -> Result<Vec<(Stream, String)>, ManageError> {
        let piece = |stream, text: &str| (stream, text.to_owned());
        Ok(vec![piece(Stream::Stdout, "10%\r100%\n"), piece(Stream::Stderr, "\x1b[31mred\x1b[0m\n")])
    }

    fn diff(&self, _store: &Path, _old: &str, new: &str) -> Result<BuildReport, ManageError> {
        explained::find(Some(new)).map(|build| BuildReport::new(&build))
    }

    fn run(&self, _store: &Path, request: &RunRequest, _: Attached, _: &Cancel) -> Result<Exit, ManageError> {
        *self.ran.borrow_mut() = Some(request.clone());
        Ok(Exit::Code(7))
    }

    fn run_step(
        &self,
        _store: &Path,
        (which, step): (Which<'_>, &str),
        request: &RunRequest,
        _: Attached,
        _: &Cancel,
    ) -> Result<Exit, ManageError> {
        let image = format!("{} {step}", which.name.unwrap_or("the last build:"));
        *self.ran.borrow_mut() = Some(RunRequest { image, ..request.clone() });
        Ok(Exit::Code(7))
    }

    fn history(&self, _store: &Path, image: &str) -> Result<Vec<HistoryRow>, ManageError> {
        Fake::find(image)?;
        let run = "RUN /bin/sh -c apt-get update\n && apt-get install -y nodejs npm # buildkit";
        Ok(vec![
            row(NOW - 60, "CMD [\"node\" \"src/index.js\"]", 0, None, "buildkit.dockerfile.v0"),
            row(NOW - 90, run, 123_456_789, Some(0x22), "buildkit.dockerfile.v0"),
            HistoryRow { created: None, ..row(0, "/bin/sh -c #(nop) ADD file:ab in / ", 4_260_000, Some(0x11), "") },
        ])
    }

    fn images(&self, store: &Path) -> Result<Vec<ImageSummary>, ManageError> {
        assert!(store.is_absolute());
        Ok(images())
    }

    fn inspect(&self, _store: &Path, image: &str) -> Result<ImageDetail, ManageError> {
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Cmd": ["node", "src/index.js"], "Env": ["PATH=/bin"], "WorkingDir": "/app" },
        });
        Ok(ImageDetail {
            summary: Fake::find(image)?,
            layers: vec![LayerId::from_bytes([0x11; 32])],
            config,
            images: Vec::new(),
        })
    }

    fn prune(&self, request: &PruneRequest) -> Result<PruneReport, ManageError> {
        *self.pruned.borrow_mut() = Some(request.clone());
        let pruned =
            |kind: &str, name: String, size, what: &str| Pruned { kind: kind.into(), name, size, what: what.into() };
        let kept = |reason: &str, count, size| Kept { reason: reason.into(), count, size };
        Ok(PruneReport {
            removed: vec![
                pruned("layer", LayerId::from_bytes([0x33; 32]).to_string(), 13_600_000, "RUN make"),
                pruned("record", "b3:4444".into(), 812, "RUN make"),
            ],
            kept: vec![kept("needed by app:latest", 3, 127_000_000), kept("used 2 days ago", 12, 4_000)],
            freed: 13_600_812,
            remaining: 127_004_000,
        })
    }

    fn import(&self, request: &ImportRequest) -> Result<ImageSummary, ManageError> {
        Ok(ImageSummary { names: vec![request.name.clone()], ..images().remove(1) })
    }

    fn tag(&self, _store: &Path, image: &str, name: &str) -> Result<String, ManageError> {
        Fake::find(image)?;
        Ok(format!("docker.io/library/{name}"))
    }

    fn remove(&self, _store: &Path, image: &str) -> Result<Removal, ManageError> {
        let image = Fake::find(image)?;
        Ok(Removal { untagged: image.names, forgotten: Some(image.key) })
    }

    fn fsck(&self, _store: &Path, repair: bool) -> Result<FsckReport, ManageError> {
        let message = "its content does not have its digest".into();
        let problem = Problem { name: "layers/b3:3333".into(), message, repaired: repair };
        Ok(FsckReport { images: 3, layers: 12, records: 40, blobs: 7, problems: vec![problem] })
    }
}

fn row(created: i64, created_by: &str, size: u64, layer: Option<u8>, comment: &str) -> HistoryRow {
    HistoryRow {
        created: Some(created),
        created_by: created_by.into(),
        size,
        layer: layer.map(|byte| LayerId::from_bytes([byte; 32])),
        comment: comment.into(),
        empty: layer.is_none(),
    }
}

fn images() -> Vec<ImageSummary> {
    let image = |byte, names: &[&str], image_id, created, size, portable| ImageSummary {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        key: ImageKey::from_bytes([byte; 32]),
        image_id,
        created,
        size,
        portable,
        platforms: vec!["linux/amd64".to_owned()],
    };
    let id = Some(Sha256::from_bytes([0xab; 32]));
    let names = ["docker.io/library/app:1", "docker.io/library/app:latest"];
    vec![
        image(0x11, &names, id, Some(NOW - 7200), 127_716_789, true),
        image(0x22, &["docker.io/library/hello:latest"], None, Some(NOW - 30), 12_300, false),
        image(0x33, &[], None, None, 0, true),
    ]
}

/// What a fake's builds built.
pub fn built() -> Built {
    let image = ImageKey::from_bytes([0x11; 32]);
    Built {
        name: "web".into(),
        image,
        image_id: Some(Sha256::from_bytes([0xab; 32])),
        manifest: Some(Sha256::from_bytes([0xcd; 32])),
        names: vec!["docker.io/library/app:latest".into(), "docker.io/library/app:1".into()],
        images: vec![("linux/amd64".into(), image)],
    }
}

/// What a fake's builds give.
pub fn outcome() -> Outcome {
    Outcome {
        results: vec![built()],
        counts: Counts { steps: 4, hits: 4, misses: 0, failed: 0, cancelled: 0 },
        duration: 0.004,
    }
}

/// The whole output of a command, with a home and an engine whose builds show nothing.
pub fn kiln<'a>(args: impl IntoIterator<Item = &'a str>) -> String {
    output(&Fake::default(), args)
}

/// The same with exactly these variables.
pub fn kiln_with<'a>(variables: &[(&str, &str)], args: impl IntoIterator<Item = &'a str>) -> String {
    output_in(&Fake::default(), variables, args)
}

/// The same with this engine.
pub fn output<'a>(fake: &Fake, args: impl IntoIterator<Item = &'a str>) -> String {
    output_in(fake, &[("HOME", "/home/me")], args)
}

/// The same with both.
pub fn output_in<'a>(fake: &Fake, variables: &[(&str, &str)], args: impl IntoIterator<Item = &'a str>) -> String {
    shown(fake, variables, args, false)
}

/// The same where everything is a terminal of 80 × 24 without colour.
pub fn session_on_terminal<'a>(fake: &Fake, args: impl IntoIterator<Item = &'a str>) -> String {
    shown(fake, &[("HOME", "/home/me"), ("NO_COLOR", "1")], args, true)
}

fn shown<'a>(
    fake: &Fake,
    variables: &[(&str, &str)],
    args: impl IntoIterator<Item = &'a str>,
    is_terminal: bool,
) -> String {
    let (out, err) = (Memory::default(), Memory::default());
    let environment = Environment::fixed(variables);
    let session = Session {
        environment: &environment,
        engine: fake,
        out: out.stream(is_terminal),
        err: err.stream(is_terminal),
        stdin_is_terminal: is_terminal,
        now: NOW,
        measure: || Size { columns: 80, rows: 24 },
        catch_interrupts: Cancel::new,
        become_root: || {
            Ok(kiln_engine::sandbox::Identity { rootless: false, mapped_ids: u32::MAX, warnings: Vec::new() })
        },
        identity: std::cell::OnceCell::new(),
    };
    let args = std::iter::once("kiln").chain(args).map(OsString::from);
    let exit = app::run(args, &session);
    let mut text = format!("exit {}\n", exit.code());
    for (name, memory) in [("stdout", out), ("stderr", err)] {
        let written = memory.text();
        if !written.is_empty() {
            text.push_str(&format!("--- {name}\n{written}"));
        }
    }
    text
}
