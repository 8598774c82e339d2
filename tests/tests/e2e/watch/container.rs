//! `--run`: the image's command serves while its sources are edited.

use super::{Watch, timeless};
use kiln_tests::{Busybox, Project};
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
