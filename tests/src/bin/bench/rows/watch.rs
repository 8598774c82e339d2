//! The table of watching: from the write of a file to the image that has it, and what waiting costs.

use super::build::unique;
use crate::context::{dockerfile, small_file, small_files};
use crate::frame::{Bound, Contest, Contestant, Result, Row, Sample, Section};
use crate::lab::{Build, Lab, Tool};
use crate::process;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Files of the context that is edited.
const FILES: usize = 20_000;

/// Files of the context that is only waited for.
const IDLE_FILES: usize = 100_000;

/// How long it is waited for, and how long before that it is left to settle.
const IDLE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(5);

/// A thousandth of a core.
const IDLE_BOUND: Bound = Bound::Idle { seconds: 0.060, bytes: 100 << 20 };

/// What `kiln watch` waits for after a change; it is no cost of the build.
const DEBOUNCE: Duration = Duration::from_millis(30);

/// Each so many edits a peer builds too.
const PEERS_EVERY: usize = 20;

/// An edited context, as data.
#[derive(Clone, Copy)]
struct EditRow {
    name: &'static str,
    work: &'static str,
    bound: Bound,
    /// The file that the RUN reads; the one that is edited is always the same.
    reads: usize,
}

/// The file that is edited.
const EDITED: usize = 7_000;

const EDIT_ROWS: [EditRow; 2] = [
    EditRow {
        name: "watch-read",
        work: "one of 20,000 files edited, a RUN cat reads it",
        bound: Bound::Latency { median: 0.060, p99: 0.150 },
        reads: EDITED,
    },
    EditRow {
        name: "watch-unread",
        work: "one of 20,000 files edited, the RUN reads another",
        bound: Bound::Latency { median: 0.040, p99: 0.150 },
        reads: EDITED + 1,
    },
];

/// The section.
pub fn section() -> Section {
    let mut rows: Vec<Row> = EDIT_ROWS.into_iter().map(Into::into).collect();
    rows.push(Row {
        name: "watch-idle",
        work: "nothing edited for 60 s, 100,000 files: processor time",
        rounds: 1,
        bound: Some(IDLE_BOUND),
        setup: Box::new(idle),
    });
    Section {
        name: "watch",
        title: "Watch",
        intro: "From the start of the write of one file to the end of the build that has it. kiln's times are those \
                beyond its debounce of 30 ms. The peers' are those of a `build` that `inotifywait -m -r` starts, on \
                another copy of the same files, in each twentieth round. Memory is what is resident when the last \
                round has ended.",
        rows,
    }
}

impl From<EditRow> for Row {
    fn from(row: EditRow) -> Row {
        let EditRow { name, work, bound, .. } = row;
        Row { name, work, rounds: 200, bound: Some(bound), setup: Box::new(move |lab, place| edited(&row, lab, place)) }
    }
}

fn edited(row: &EditRow, lab: &Lab, place: &Path) -> Result<Contest> {
    let mut contestants = Vec::new();
    for tool in lab.tools() {
        let context = place.join(tool.name());
        fs::create_dir(&context)?;
        small_files(&context.join("files"), FILES, 0)?;
        let read = small_file(Path::new("/files"), row.reads);
        dockerfile(&context, &format!("FROM BASE\nCOPY files /files\nRUN cat {} > /out\n", read.display()))?;
        let build = Build { arguments: Vec::new(), tag: format!("kiln-bench-{}:latest", row.name) };
        let (mut watcher, beyond, every) = match tool {
            Tool::Kiln { program, store } => (Watcher::kiln(program, store, &context)?, DEBOUNCE, 1),
            Tool::Peer { .. } => (Watcher::peer(tool, &context, &build)?, Duration::ZERO, PEERS_EVERY),
        };
        let file = small_file(&context.join("files"), EDITED);
        let run = move |_| {
            let started = Instant::now();
            fs::write(&file, format!("edited {}\n", unique()))?;
            watcher.built()?;
            let seconds = started.elapsed().saturating_sub(beyond).as_secs_f64();
            Ok(Sample { seconds, resident: watcher.resident() })
        };
        contestants.push(Contestant { name: tool.name().to_owned(), every, run: Box::new(run) });
    }
    Ok(Contest { edit: Box::new(|_| Ok(())), contestants })
}

fn idle(lab: &Lab, place: &Path) -> Result<Contest> {
    let Tool::Kiln { program, store } = lab.kiln() else { return Err("kiln comes first".into()) };
    small_files(&place.join("files"), IDLE_FILES, 0)?;
    dockerfile(place, "FROM BASE\nCOPY files /files\n")?;
    let watcher = Watcher::kiln(program, store, place)?;
    let run = move |round| {
        // The warm-up is for whoever runs something in each round.
        if round == 0 {
            return Ok(Sample { seconds: 0.0, resident: 0 });
        }
        std::thread::sleep(SETTLE);
        let before = watcher.processor_seconds()?;
        std::thread::sleep(IDLE);
        Ok(Sample { seconds: watcher.processor_seconds()? - before, resident: watcher.resident() })
    };
    let contestants = vec![Contestant { name: lab.kiln().name().to_owned(), every: 1, run: Box::new(run) }];
    Ok(Contest { edit: Box::new(|_| Ok(())), contestants })
}

/// Something that builds after each change, and says so by a line.
struct Watcher {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// What a line of it holds when something was built.
    word: &'static str,
}

impl Watcher {
    /// `kiln watch`, its first build done.
    fn kiln(program: &Path, store: &Path, context: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["watch", "--json"]).arg(context).env("KILN_STORE", store);
        let mut watcher = Watcher::start(command, "\"event\":\"build_finished\"")?;
        watcher.built()?;
        // What was not watched before it was scanned is looked at once more.
        std::thread::sleep(Duration::from_secs(1));
        Ok(watcher)
    }

    /// A peer's build started by inotifywait, once it watches.
    fn peer(tool: &Tool, context: &Path, build: &Build) -> Result<Self> {
        let mut build = tool.build(context, build);
        process::run(&mut build)?;
        let ready = context.with_extension("ready");
        let script = "exec 3>&1; ready=$1 files=$2; shift 2; \
                      inotifywait -m -r -e close_write --format %w%f \"$files\" 2> \"$ready\" | \
                      while read -r _; do \"$@\" > /dev/null 2>&1 < /dev/null && echo built >&3; done";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&ready).arg(context.join("files"));
        command.arg(build.get_program()).args(build.get_args());
        let watcher = Watcher::start(command, "built")?;
        let since = Instant::now();
        while !fs::read_to_string(&ready).is_ok_and(|text| text.contains("Watches established")) {
            if since.elapsed() > Duration::from_secs(20) {
                return Err("inotifywait does not watch (Debian: inotify-tools)".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(watcher)
    }

    fn start(mut command: Command, word: &'static str) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|error| format!("failed to start {command:?}: {error}"))?;
        let lines = BufReader::new(child.stdout.take().ok_or("its output is a pipe")?);
        Ok(Watcher { child, lines, word })
    }

    /// Waits for a build to end.
    fn built(&mut self) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(format!("{} ended: {:?}", self.word, self.child.wait()).into());
            }
            if line.contains(self.word) {
                return if line.contains("\"ok\":false") { Err(line.into()) } else { Ok(()) };
            }
        }
    }

    /// What is resident, in bytes; 0 where that cannot be said.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// The time for which any of its threads had a processor, in seconds.
    fn processor_seconds(&self) -> Result<f64> {
        let mut nanos = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).ok_or("no schedstat")?;
        }
        Ok(nanos as f64 / 1e9)
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // It may have ended already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::INT);
            std::thread::sleep(Duration::from_millis(200));
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ended = self.child.wait();
    }
}
