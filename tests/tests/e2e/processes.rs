//! Several kilns on one store, and kilns that are told to stop.

use kiln_tests::{Kiln, Project};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn quiet(kiln: &Kiln, project: &Project) -> Child {
    let mut command = kiln.command(["build".as_ref(), "-q".as_ref(), project.path().as_os_str()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn builds_of_one_project_at_the_same_time_in_one_store_give_one_image() {
    let kiln = Kiln::new().env("SOURCE_DATE_EPOCH", "1700000000");
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM kiln/host AS a\nCOPY . /in\nRUN sleep 0.1; cat /in/* > /out\nFROM scratch\nCOPY --from=a /out /\n",
        ),
        ("file", "content\n"),
    ]);
    let running: Vec<Child> = (0..6).map(|_| quiet(&kiln, &project)).collect();
    let ids: Vec<String> = running
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let report = kiln.run(["fsck"]);
    assert_eq!(report.code, Some(0), "{}\n{}", report.stdout, report.stderr);
}

/// Whether a process runs whose command line holds `mark`.
fn is_running(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(mark) && !String::from_utf8_lossy(&line).contains("kiln"))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_build_that_is_told_to_stop_ends_its_steps_and_leaves_nothing() {
    // A number that no other process sleeps for.
    let mark = format!("99{}.5", std::process::id());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let kiln = Kiln::new();
        let text = format!("FROM kiln/host\nRUN trap '' TERM INT; setsid sleep {mark} & sleep {mark}\n");
        let project = Project::new(&[("Dockerfile", &text)]);
        let child = quiet(&kiln, &project);
        wait_until("the step runs", || is_running(&mark));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        wait_until("the step's processes are gone", || !is_running(&mark));
        assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&kiln.store().display().to_string()), "{mounts}");
    }
}

#[test]
fn the_processes_of_a_killed_build_die_with_it() {
    let mark = format!("98{}.5", std::process::id());
    let kiln = Kiln::new();
    let text = format!("FROM kiln/host\nRUN setsid sleep {mark} & sleep {mark}\n");
    let project = Project::new(&[("Dockerfile", &text)]);
    let mut child = quiet(&kiln, &project);
    wait_until("the step runs", || is_running(&mark));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the step's processes are gone", || !is_running(&mark));
}
