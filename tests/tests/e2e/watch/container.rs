//! `--run`: the image's command serves while its sources are edited.

use super::{Watch, timeless};
use kiln_tests::{Busybox, Project, has_tool, skip};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What the server says, once it answers.
fn answer(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn wait_for(port: u16, expected: &str) {
    let since = Instant::now();
    while answer(port).as_deref() != Some(expected) {
        assert!(since.elapsed() < Duration::from_secs(30), "{:?} is not {expected:?}", answer(port));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes_with(argument: &str) -> usize {
    let has = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(argument.len()).any(|part| part == argument.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(has).count()
}

#[test]
fn the_command_runs_the_newest_good_image_and_nothing_of_it_stays() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let good = format!(
        "FROM busybox\nCOPY www /www\nRUN grep -q . /www/page\nCMD [\"httpd\", \"-f\", \"-p\", \"{address}\", \"-h\", \"/www\"]\n"
    );
    let project = Project::new(&[("Dockerfile", &good), ("www/page", "0")]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let mut watch = Watch::spawn(&kiln, project.path(), &["--run", "--stop-timeout", "1s"]);
    wait_for(port, "0");
    for number in 1..=10 {
        project.write("www/page", &number.to_string());
        wait_for(port, &number.to_string());
    }
    // A build that fails leaves the old one serving.
    project.write("www/page", "");
    let round = watch.until_quiet(1);
    assert_eq!(round.errors.len(), 1, "{round:?}");
    assert_eq!(answer(port).as_deref(), Some("10"));
    project.write("www/page", "mended");
    wait_for(port, "mended");
    // The server answers each question by a child, which may still be closing the last one.
    let since = Instant::now();
    while processes_with(&address) > 1 && since.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(processes_with(&address), 1);
    assert_eq!(watch.stop(), Some(0));
    assert_eq!(processes_with(&address), 0);
    assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_command_after_two_dashes_is_run_in_place_of_the_images() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nCOPY a /\nCMD [\"false\"]\n"), ("a", "1")]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let mut command = kiln.command(["watch", "--run", "--once", "-q"]);
    let child = command
        .arg(project.path())
        .args(["--", "cat", "/a"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    project.write("a", "2");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with('1') && said.contains("the command has ended: exit code 0") && said.contains('2'),
        "{said}"
    );
}

/// The application of `examples/node-app` on the host's own node, with its package from the registry.
fn node_app(port: u16) -> Option<Project> {
    has_tool("node")?;
    let npm = has_tool("npm")?;
    let answers = std::process::Command::new(npm).args(["view", "ms@2.1.3", "version"]).output();
    if !answers.is_ok_and(|output| output.status.success()) {
        skip("the registry of npm");
        return None;
    }
    let dockerfile = format!(
        "FROM kiln/host\nWORKDIR /srv/app\nCOPY package.json .\nRUN npm install --omit=dev\nCOPY src src\n\
         ENV PORT={port}\nCMD [\"node\", \"src/index.js\"]\n"
    );
    let project = Project::new(&[("Dockerfile", &dockerfile)]);
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/node-app");
    for file in ["package.json", "src/index.js", "src/answer.js"] {
        project.write(file, &std::fs::read_to_string(example.join(file)).unwrap());
    }
    Some(project)
}

fn wait_for_word(port: u16, word: &str) {
    let since = Instant::now();
    while !answer(port).is_some_and(|text| text.starts_with(word)) {
        assert!(since.elapsed() < Duration::from_secs(60), "{:?} does not begin with {word:?}", answer(port));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose environment has this variable.
fn processes_in(variable: &str) -> usize {
    let has = |entry: &std::fs::DirEntry| {
        let text = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        text.split(|&b| b == 0).any(|pair| pair == variable.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(has).count()
}

#[test]
fn the_node_application_answers_anew_after_an_edit_and_keeps_answering_after_a_wrong_one() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let variable = format!("PORT={port}");
    let kiln = timeless();
    let Some(project) = node_app(port) else { return };
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap().lines().count();
    let before = mounts();
    let watch = Watch::spawn(&kiln, project.path(), &["--run", "--stop-timeout", "2s"]);
    wait_for_word(port, "up for");
    let source = |word: &str| format!("module.exports = (uptime) => `{word} ${{uptime}}`;\n");
    project.write("src/answer.js", &source("running for"));
    wait_for_word(port, "running for");
    // So long that it counts as having come up.
    std::thread::sleep(Duration::from_millis(2500));
    project.write("src/answer.js", "module.exports = (uptime => `\n");
    std::thread::sleep(Duration::from_secs(2));
    wait_for_word(port, "running for");
    assert_eq!(processes_in(&variable), 1);
    for number in 0..50 {
        project.write("src/answer.js", &source(&format!("{number} since")));
        wait_for_word(port, &format!("{number} since"));
    }
    assert_eq!(processes_in(&variable), 1);
    assert_eq!(watch.stop(), Some(0));
    assert_eq!(processes_in(&variable), 0);
    assert_eq!(mounts(), before);
    assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
}
