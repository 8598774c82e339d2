//! `kiln watch` from outside: edits are made, and its events are read.
//!
//! The contexts have no RUN, so that these tests need neither root nor a base image.

mod beside;
mod busy;
mod container;
mod editors;
mod random;

use kiln_tests::{Kiln, Project};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nothing happens for so long: whatever was to come has come, on a busy machine too.
const QUIET: Duration = Duration::from_millis(700);

/// No build of these tests takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch that runs. Times in images are fixed, so that the same files are the same image.
pub struct Watch {
    child: Child,
    events: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

/// What happened until it was quiet.
#[derive(Debug, Default)]
pub struct Round {
    /// The paths of each change, in their order.
    pub changes: Vec<Vec<String>>,
    /// The image of each build that succeeded.
    pub images: Vec<String>,
    /// The errors of those that did not.
    pub errors: Vec<String>,
}

/// A program whose images depend on files only.
pub fn timeless() -> Kiln {
    Kiln::new().env("SOURCE_DATE_EPOCH", "1000000000")
}

impl Watch {
    /// Starts one, and waits for its first build and for the quiet after it.
    pub fn start(kiln: &Kiln, project: &Project, args: &[&str]) -> (Self, Round) {
        Watch::start_at(kiln, project.path(), args)
    }

    /// The same in any directory.
    pub fn start_at(kiln: &Kiln, root: &Path, args: &[&str]) -> (Self, Round) {
        let mut watch = Watch::spawn(kiln, root, args);
        let first = watch.until_quiet(1);
        (watch, first)
    }

    /// Starts one and waits for nothing.
    pub fn spawn(kiln: &Kiln, root: &Path, args: &[&str]) -> Self {
        let path = root.to_str().unwrap();
        let mut command = kiln.command([&["watch", "--json"], args, &[path]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _gone = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Watch { child, events, seen: Vec::new() }
    }

    /// How the next build ends: its image or its error.
    pub fn next_end(&mut self) -> Result<String, String> {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            self.seen.push(event.clone());
            if event["event"] == "build_finished" {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                return if event["ok"] == true { Ok(text("image")) } else { Err(text("error")) };
            }
        }
    }

    /// How the step whose instruction begins so ended, in each build that had it.
    pub fn verdicts_of(&self, instruction: &str) -> Vec<String> {
        self.endings_of(instruction, "verdict")
    }

    /// The same for what was said of it.
    pub fn reasons_of(&self, instruction: &str) -> Vec<String> {
        self.endings_of(instruction, "reason")
    }

    fn endings_of(&self, instruction: &str, field: &str) -> Vec<String> {
        let mut step = None;
        let mut endings = Vec::new();
        for event in &self.seen {
            if event["event"] == "build_started" {
                let steps = event["steps"].as_array().unwrap();
                let begins = |step: &Value| step["instruction"].as_str().unwrap().starts_with(instruction);
                step = steps.iter().position(begins);
            }
            if event["event"] == "step_finished" && event["step"].as_u64().map(|step| step as usize) == step {
                endings.push(event[field].as_str().unwrap_or_default().to_owned());
            }
        }
        endings
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Everything until nothing happens, after at least so many builds.
    pub fn until_quiet(&mut self, least: usize) -> Round {
        let since = Instant::now();
        let mut round = Round::default();
        let mut running = 0i32;
        loop {
            match self.events.recv_timeout(QUIET) {
                Ok(event) => {
                    match event["event"].as_str() {
                        Some("change_seen") => round.changes.push(texts(&event["paths"])),
                        Some("build_started") => running += 1,
                        Some("build_finished") => {
                            running = 0;
                            match event["ok"].as_bool() {
                                Some(true) => round.images.push(event["image"].as_str().unwrap().to_owned()),
                                _ => round.errors.push(event["error"].as_str().unwrap_or_default().to_owned()),
                            }
                        }
                        _ => {}
                    }
                    self.seen.push(event);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if running == 0 && round.images.len() + round.errors.len() >= least {
                        return round;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("kiln ended: {:?}", self.child.wait()),
            }
            assert!(since.elapsed() < PATIENCE, "no quiet: {round:?}");
        }
    }

    /// Interrupts it; gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(self.pid()).unwrap(),
            rustix::process::Signal::INT,
        )
        .unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The image that a build from nothing makes of the same files.
pub fn clean_image(project: &Project) -> String {
    timeless().build([project.path()]).ok().image()
}

#[test]
fn only_what_the_plan_reads_wakes_it_and_the_image_is_that_of_a_clean_build() {
    let project = Project::new(&[
        ("Dockerfile", "FROM scratch\nCOPY src/ /src/\nCOPY *.json /\n"),
        (".dockerignore", "src/*.log\n"),
        ("src/main", "1"),
        ("src/deep/er", "1"),
        ("package.json", "{}"),
        ("docs/readme", "1"),
        ("README", "1"),
    ]);
    let kiln = timeless();
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!(first.images, [clean_image(&project)]);
    for path in ["docs/readme", "README", "src/x.log", "docs/new", "other/new"] {
        project.write(path, "2");
    }
    let round = watch.until_quiet(0);
    assert!(round.changes.is_empty() && round.images.is_empty(), "{round:?}");
    for (path, content) in
        [("src/deep/er", "2"), ("package.json", "[]"), ("src/new/dir/file", "x"), ("src/new/dir/file", "y")]
    {
        project.write(path, content);
        let round = watch.until_quiet(1);
        assert_eq!(round.images, [clean_image(&project)], "{path}");
        assert!(round.changes[0].contains(&path.to_owned()), "{round:?}");
    }
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn the_files_that_decide_what_is_built_are_watched_too() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1"), ("b", "1"), ("sub/c", "1")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    project.write("Dockerfile", "FROM scratch\nCOPY a b sub /\n");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
    project.write("sub/c", "2");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)], "a directory that the new plan reads");
    project.write("Dockerfile", "FORM scratch\n");
    let round = watch.until_quiet(1);
    assert!(round.images.is_empty() && round.errors[0].contains("cannot be built"), "{round:?}");
    project.write("b", "2");
    project.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
    project.write(".dockerignore", "sub\n");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
    project.write("kiln.ron", "(registry: (insecure: [\"x:1\"]))");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
}

#[test]
fn a_missing_source_that_comes_mends_the_build() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY dist/app /\n")]);
    let kiln = timeless();
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!((first.images.len(), first.errors.len()), (0, 1));
    project.write("dist/app", "1");
    let round = watch.until_quiet(1);
    assert_eq!(round.images.last(), Some(&clean_image(&project)), "{round:?}");
}

#[test]
fn an_output_below_the_context_causes_no_loop() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n"), ("a", "1")]);
    let kiln = timeless();
    let out = format!("type=tar,dest={}", project.at("out.tar").display());
    let (mut watch, first) =
        Watch::start(&kiln, &project, &["-o", &out, "--iidfile", project.at("iid").to_str().unwrap()]);
    assert_eq!(first.images.len(), 1, "{first:?}");
    project.write("a", "2");
    assert_eq!(watch.until_quiet(1).images.len(), 1);
    assert!(project.at("out.tar").exists() && project.at("iid").exists());
}

#[test]
fn once_ends_with_the_first_rebuild_and_exec_sees_what_it_was() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")]);
    let kiln = timeless();
    let log = kiln.scratch().join("log");
    let exec = format!("echo \"$KILN_IMAGE <$KILN_CHANGED>\" >> {}", log.display());
    let args = ["--once", "--debounce", "10ms", "-t", "app", "--exec", &exec];
    let (mut watch, _) = Watch::start(&kiln, &project, &args);
    project.write("a", "2");
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    let name = "docker.io/library/app:latest";
    assert_eq!(std::fs::read_to_string(&log).unwrap(), format!("{name} <>\n{name} <a>\n"));
    let (mut watch, _) = Watch::start(&kiln, &project, &["--once"]);
    project.write("Dockerfile", "FROM scratch\nCOPY missing /\n");
    assert_eq!(watch.child.wait().unwrap().code(), Some(1));
}

#[test]
fn where_nothing_tells_of_changes_they_are_looked_for() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src /\n"), ("src/a", "1"), ("b", "1")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &["--poll=100ms"]);
    project.write("b", "2");
    let round = watch.until_quiet(0);
    assert!(round.images.is_empty(), "{round:?}");
    project.write("src/deep/c", "2");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
    project.write("Dockerfile", "FROM scratch\nCOPY b /\n");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
}
