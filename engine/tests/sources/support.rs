//! What the end-to-end tests of sources share: a directory with a store, builds in it, and a server on loopback.

use kiln_engine::api::{BuildError, Cancel, Context, Outcome, Output, Request};
use kiln_engine::build::build;
use kiln_engine::event::{Event, Sink};
use kiln_engine::explain::Verdict;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A directory with a store, a context and results.
pub struct World {
    dir: tempfile::TempDir,
}

/// What a build said, and gave.
#[derive(Debug)]
pub struct Built {
    pub result: Result<Outcome, BuildError>,
    pub events: Vec<Event>,
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        World { dir }
    }

    /// A world whose context holds this Dockerfile.
    pub fn with(dockerfile: &str) -> Self {
        let world = World::new();
        world.write("Dockerfile", dockerfile);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// Writes a file of the context.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Builds the context as it is, with the result's files in `out`.
    pub fn build(&self, change: impl FnOnce(&mut Request)) -> Built {
        self.build_until(&Cancel::new().unwrap(), change)
    }

    /// The same, until it is cancelled.
    pub fn build_until(&self, cancel: &Cancel, change: impl FnOnce(&mut Request)) -> Built {
        let out = self.path("out");
        let _ = fs::remove_dir_all(&out);
        let mut request = Request::new(Context::Directory(self.context()), self.path("store"));
        request.outputs = vec![Output::Local { dest: out }];
        change(&mut request);
        let recorder = Recorder::default();
        let result = build(&request, &recorder, cancel);
        Built { result, events: recorder.0.into_inner().unwrap() }
    }

    /// The same for a Dockerfile with this text, which has to succeed.
    pub fn built(&self, dockerfile: &str) -> Built {
        self.write("Dockerfile", dockerfile);
        let built = self.build(|_| ());
        built.ok();
        built
    }

    /// The files of the last result: path and content, directories with a slash, links with their target.
    pub fn files(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        list(&self.path("out"), &self.path("out"), &mut all);
        all
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }
}

pub fn list(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            all.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if meta.is_dir() {
            all.insert(format!("{name}/"), String::new());
            list(root, &path, all);
        } else {
            all.insert(name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned());
        }
    }
}

impl Built {
    #[track_caller]
    pub fn ok(&self) -> &Outcome {
        match &self.result {
            Ok(outcome) => outcome,
            Err(error) => panic!("{}", chain(error)),
        }
    }

    /// The whole error: findings, the causes, the advice.
    #[track_caller]
    pub fn error(&self) -> String {
        chain(self.result.as_ref().expect_err("the build succeeded"))
    }

    /// How the steps ended, those that only change the configuration left out.
    pub fn verdicts(&self) -> Vec<String> {
        let steps = self.events.iter().find_map(|event| match event {
            Event::BuildStarted { steps, .. } => Some(steps.clone()),
            _ => None,
        });
        let steps = steps.unwrap_or_default();
        let ended = self.events.iter().filter_map(|event| match event {
            Event::StepFinished { step, verdict, reason, .. } if reason != "configuration" => {
                Some((*step, *verdict, reason.clone()))
            }
            _ => None,
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_by_key(|(step, ..)| *step);
        ended
            .iter()
            .map(|(step, verdict, reason)| format!("{}: {}, {reason}", steps[*step].name, verdict.word()))
            .collect()
    }

    /// How many steps ran.
    pub fn ran(&self) -> usize {
        let ran = |event: &&Event| matches!(event, Event::StepFinished { verdict: Verdict::Miss(_), .. });
        self.events.iter().filter(ran).count()
    }

    /// What the steps printed.
    pub fn log(&self) -> String {
        let text = |event: &Event| match event {
            Event::StepLog { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Warning { message } => Some(message.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

/// An error with everything that is said of it.
pub fn chain(error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text += &format!(": {said}");
        }
        cause = error.source();
    }
    if let BuildError::Diagnostics { diagnostics, .. } = error {
        for finding in diagnostics {
            text += &format!("\n{}: {}", finding.code, finding.message);
            text += &finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        }
    }
    if let Some(advice) = error.advice() {
        text += &format!("\nhelp: {advice}");
    }
    text
}

/// A free port of loopback.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says that a test is left out, and why.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub fn skip(what: &str) {
    eprintln!("left out: it needs {what}");
}

/// Whether steps can be run here.
pub fn can_run() -> bool {
    let can = rustix::process::geteuid().is_root();
    if !can {
        skip("root, to run steps without a user namespace");
    }
    can
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: BTreeMap<String, String>,
}

/// An answer: status, headers and body.
pub type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server on loopback that answers as it is told.
pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let answer = Arc::new(answer);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &(dyn Fn(&Asked) -> Answer + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut asked = Asked { line: line.trim().to_owned(), headers: BTreeMap::new() };
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            let (name, value) = header.trim().split_once(':').unwrap();
            asked.headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let (status, headers, body) = answer(&asked);
        seen.lock().unwrap().push(asked);
        let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

/// A tar with these files.
pub fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}
