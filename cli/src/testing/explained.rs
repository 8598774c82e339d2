//! Builds as the store would remember them, for the tests of explanations.

use super::NOW;
use kiln_engine::api::ManageError;
use kiln_engine::digest::{KeyId, LayerId};
use kiln_engine::event::{Hit, Miss, Verdict};
use kiln_engine::explain::record::{Asked, Before};
use kiln_engine::explain::report::{ComponentReport, StepDetail, StepReport};
use kiln_engine::explain::{
    Build, BuildId, BuildStep, Change, Compared, Dragged, End, FileChange, FileDiff, FileSet, Presence, Why,
};
use kiln_engine::key::Component;

const NANOS: i64 = 1_000_000_000;

/// The builds of the store, the newest first.
pub fn builds() -> Vec<Build> {
    vec![changed(), first()]
}

/// The build that is asked for by the beginning of its id.
pub fn find(name: Option<&str>) -> Result<Build, ManageError> {
    let unknown = || ManageError::UnknownBuild { name: name.map(str::to_owned) };
    let fits = |build: &Build| name.is_none_or(|name| build.id.to_string().starts_with(name));
    builds().into_iter().find(fits).ok_or_else(unknown)
}

/// A step of a build, by its number.
pub fn step(build: Option<&str>, step: &str) -> Result<StepDetail, ManageError> {
    let build = find(build)?;
    let names = || build.steps.iter().map(|step| step.name.clone()).collect();
    let unknown = || ManageError::UnknownStep { build: build.id.to_string(), name: step.to_owned(), steps: names() };
    let index = step.parse::<usize>().map_err(|_| unknown())? - 1;
    let components = [
        Component::text("the command", "[\"/bin/sh\", \"-c\", \"npm ci\"]"),
        Component::variable("ARG", "NPM_TOKEN", "hunter2"),
    ];
    Ok(StepDetail {
        build: build.id.to_string(),
        step: StepReport::new(index, &build.steps[index]),
        components: components.iter().map(ComponentReport::new).collect(),
        has_log: true,
    })
}

fn made(name: &str, inputs: Vec<usize>, verdict: Verdict, duration: f64, why: Why) -> BuildStep {
    let instruction = name.split_once("] ").map_or(name, |(_, rest)| rest).to_owned();
    BuildStep {
        name: name.into(),
        stage: "web".into(),
        platform: "linux/amd64".into(),
        written: instruction.clone(),
        instruction,
        line: 3,
        file: None,
        inputs,
        verdict,
        reason: if verdict == Verdict::Failed(Some(Miss::Changed)) { "exit code 2" } else { "" }.into(),
        key: Some(KeyId::from_bytes([7; 32])),
        layer: Some(LayerId::from_bytes([8; 32])),
        stack: None,
        duration,
        earlier: Some(31.0),
        why,
        made: None,
    }
}

fn asked() -> Asked {
    Asked {
        context: "/home/me/app".into(),
        dockerfile: "/home/me/app/Dockerfile".into(),
        platform: "linux/amd64".into(),
        ..Asked::default()
    }
}

fn file(path: &str, change: FileChange) -> FileDiff {
    FileDiff { path: path.into(), change }
}

fn compared() -> Option<Compared> {
    let name = "[web 2/6] COPY . .".into();
    Some(Compared { build: Some(BuildId::from_bytes([0x45; 6])), nanos: (NOW - 7200) * NANOS, name, failed: false })
}

fn changed() -> Build {
    let names = (0..7).map(|number| file(&format!("src/{number}.js"), FileChange::Content));
    let more = [
        file("bin/run", FileChange::Mode { old: 0o644, new: 0o755 }),
        file("new.md", FileChange::RenamedFrom("old.md".into())),
    ];
    let files: Vec<FileDiff> = more.into_iter().chain(names).collect();
    let set = FileSet { known: true, changed: 8, renamed: 1, files, ..FileSet::default() };
    let copy =
        Why { compared: compared(), changes: vec![Change::Files { label: "files".into(), set }], ..Why::default() };
    let dragged = || Dragged { label: "parent".into(), root: Some(1), name: "[web 2/6] COPY . .".into() };
    let output = FileSet {
        known: true,
        changed: 2,
        files: vec![
            file("var/log/dpkg.log", FileChange::Content),
            file("var/cache/ldconfig/aux-cache", FileChange::Content),
        ],
        ..FileSet::default()
    };
    let env = Change::Text {
        label: "the instruction".into(),
        old: Some("ENV NODE_ENV=production DEBUG=".into()),
        new: Some("ENV NODE_ENV=development DEBUG=".into()),
    };
    let steps = vec![
        made("[web 1/6] FROM node:22", vec![], Verdict::Hit(Hit::Local), 0.0, Why::default()),
        made("[web 2/6] COPY . .", vec![0], Verdict::Miss(Miss::Changed), 0.25, copy),
        made(
            "[web 3/6] RUN npm ci",
            vec![1],
            Verdict::Miss(Miss::ParentChanged),
            41.2,
            Why { compared: compared(), dragged: vec![dragged()], output: Some(output), ..Why::default() },
        ),
        made(
            "[web 4/6] RUN npm run build",
            vec![2],
            Verdict::Miss(Miss::ParentChanged),
            3.3,
            Why { dragged: vec![dragged()], ..Why::default() },
        ),
        made(
            "[web 5/6] ENV NODE_ENV=development DEBUG=",
            vec![3],
            Verdict::Hit(Hit::Configuration),
            0.0,
            Why { changes: vec![env], ..Why::default() },
        ),
        made(
            "[web 6/6] RUN npm test",
            vec![4],
            Verdict::Failed(Some(Miss::Changed)),
            1.5,
            Why {
                changes: vec![Change::Hidden { label: "ARG NPM_TOKEN".into(), how: Presence::Changed }],
                dragged: vec![dragged()],
                ..Why::default()
            },
        ),
    ];
    Build {
        id: BuildId::from_bytes([0x01, 0x23, 0x45, 0x67, 0x89, 0xab]),
        started_nanos: (NOW - 120) * NANOS,
        duration: 46.4,
        asked: asked(),
        end: End::Failed("[web 6/6] RUN npm test failed: exit code 2".into()),
        image: None,
        names: Vec::new(),
        before: Some(Before {
            id: BuildId::from_bytes([0x45; 6]),
            started_nanos: (NOW - 7200) * NANOS,
            asked: Asked { target: Some("test".into()), ..asked() },
            removed: vec!["[web 2/6] LABEL a=1".into()],
            stages_moved: false,
        }),
        steps,
    }
}

fn first() -> Build {
    let run = |name: &str, seconds| made(name, vec![], Verdict::Miss(Miss::FirstTime), seconds, Why::default());
    Build {
        id: BuildId::from_bytes([0x45, 0x67, 0, 0, 0, 0]),
        started_nanos: (NOW - 7200) * NANOS,
        duration: 60.0,
        asked: asked(),
        end: End::Built,
        image: None,
        names: vec!["docker.io/library/app:latest".into()],
        before: None,
        steps: vec![run("[web 1/2] FROM node:22", 20.0), run("[web 2/2] RUN npm ci", 40.0)],
    }
}
