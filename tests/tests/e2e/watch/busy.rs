//! Edits while it builds, lost events, directories that come and go.

use super::{Watch, clean_image, timeless};
use kiln_tests::{Busybox, Kiln, Project};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_root_that_is_deleted_and_made_again_is_watched_again() {
    let project = Project::new(&[]);
    let root = project.at("context");
    let fill = |content: &str| {
        project.write("context/Dockerfile", "FROM scratch\nCOPY src/ /\n");
        project.write("context/src/deep/f", content);
    };
    fill("1");
    let inner = |content: &str| {
        let copy = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n"), ("src/deep/f", content)]);
        clean_image(&copy)
    };
    let kiln = timeless();
    let (mut watch, first) = Watch::start_at(&kiln, &root, &[]);
    assert_eq!(first.images, [inner("1")]);
    fs::remove_dir_all(&root).unwrap();
    let gone = watch.until_quiet(1);
    assert!(gone.images.is_empty() && !gone.errors.is_empty(), "{gone:?}");
    fill("2");
    assert_eq!(watch.until_quiet(1).images.last(), Some(&inner("2")));
    project.write("context/src/deep/f", "3");
    assert_eq!(watch.until_quiet(1).images, [inner("3")]);
}

#[test]
fn a_directory_that_is_moved_and_another_in_its_place_are_told_apart() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n"), ("src/a/f", "1")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    fs::rename(project.at("src/a"), project.at("src/b")).unwrap();
    project.write("src/a/f", "2");
    assert_eq!(watch.until_quiet(1).images.last(), Some(&clean_image(&project)));
    for path in ["src/a/f", "src/b/f"] {
        project.write(path, &format!("{path} edited"));
        assert_eq!(watch.until_quiet(1).images, [clean_image(&project)], "{path}");
    }
    // Out of the context and back in.
    fs::rename(project.at("src/b"), project.at("b")).unwrap();
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
    project.write("b/f", "outside");
    assert!(watch.until_quiet(0).images.is_empty());
    fs::rename(project.at("b"), project.at("src/b")).unwrap();
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
}

#[test]
fn events_that_the_kernel_drops_are_made_up_for() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n"), ("src/f", "0"), ("src/g", "0")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(watch.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Two events that are not alike follow each other, so that none is merged into the one before.
    for number in 0..limit {
        let path = if number % 2 == 0 { "src/f" } else { "src/g" };
        fs::write(project.at(path), number.to_string()).unwrap();
    }
    project.write("src/after/the/flood", "x");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let round = watch.until_quiet(1);
    assert_eq!(round.images.last(), Some(&clean_image(&project)), "{round:?}");
    project.write("src/after/the/flood", "y");
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
}

#[test]
fn an_edit_stops_the_steps_that_it_makes_worthless_and_no_others() {
    let dockerfile = "FROM busybox AS slow\nRUN sleep 3; echo kept > /kept\n\
                      FROM busybox AS stale\nCOPY a /\nRUN sleep 1; cat /a > /out; sleep 60\n\
                      FROM busybox\nCOPY --from=slow /kept /\nCOPY --from=stale /out /\n";
    let quick = dockerfile.replace("; sleep 60", "");
    let project = Project::new(&[("Dockerfile", dockerfile), ("a", "1")]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let mut watch = Watch::spawn(&kiln, project.path(), &[]);
    std::thread::sleep(Duration::from_millis(1500));
    let since = Instant::now();
    project.write("a", "2");
    let first = watch.next_end();
    assert!(first.is_err(), "{first:?}");
    assert!(since.elapsed() < Duration::from_secs(30), "the step that sleeps was not stopped");
    // The slow stage has ended by itself and is not run again.
    project.write("Dockerfile", &quick);
    let round = watch.until_quiet(1);
    assert_eq!(round.images.len(), 1, "{round:?}");
    let hits = watch.verdicts_of("RUN sleep 3");
    assert!(
        hits.iter().filter(|verdict| *verdict == "miss").count() == 1 && hits.ends_with(&["hit".to_owned()]),
        "{hits:?}"
    );
    assert_eq!(watch.stop(), Some(0));
    let left = fs::read_dir(kiln.store().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing of a session stays");
}

#[test]
fn an_interrupt_ends_a_build_at_once_and_leaves_nothing() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN sleep 4242\n")]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let watch = Watch::spawn(&kiln, project.path(), &[]);
    std::thread::sleep(Duration::from_millis(1000));
    let since = Instant::now();
    assert_eq!(watch.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
    let sleeping = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.windows(4).any(|part| part == b"4242"))
    });
    assert!(!sleeping);
}

#[test]
fn a_dockerfile_that_changes_stops_only_the_steps_that_it_has_no_more() {
    let dockerfile = "FROM busybox AS slow\nRUN sleep 3; echo kept > /kept\n\
                      FROM busybox AS stale\nRUN sleep 60; echo one > /out\n\
                      FROM busybox\nCOPY --from=slow /kept /\nCOPY --from=stale /out /\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let mut watch = Watch::spawn(&kiln, project.path(), &[]);
    std::thread::sleep(Duration::from_millis(1500));
    let since = Instant::now();
    project.write("Dockerfile", &dockerfile.replace("sleep 60; echo one", "echo two"));
    let first = watch.next_end();
    assert!(first.is_err(), "{first:?}");
    let round = watch.until_quiet(1);
    assert_eq!(round.images.len(), 1, "{round:?}");
    assert!(since.elapsed() < Duration::from_secs(40), "the step that is gone was not stopped");
    assert_eq!(watch.verdicts_of("RUN sleep 3"), ["miss", "hit"]);
}

#[test]
fn a_step_that_failed_is_not_tried_again_before_its_key_changes() {
    let dockerfile = "FROM busybox AS bad\nCOPY a /\nRUN grep -q good /a\n\
                      FROM busybox AS good\nCOPY b /\nRUN cp /b /out\n\
                      FROM busybox\nCOPY --from=bad /a /\nCOPY --from=good /out /\n";
    let project = Project::new(&[("Dockerfile", dockerfile), ("a", "bad"), ("b", "1")]);
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!(first.errors.len(), 1, "{first:?}");
    project.write("b", "2");
    let round = watch.until_quiet(1);
    assert_eq!(round.errors.len(), 1, "{round:?}");
    // What does not need it is built.
    assert_eq!(watch.verdicts_of("RUN cp /b").last().map(String::as_str), Some("miss"));
    assert_eq!(watch.verdicts_of("RUN grep"), ["failed", "failed"]);
    assert!(watch.reasons_of("RUN grep")[1].contains("not tried again"), "{:?}", watch.reasons_of("RUN grep"));
    project.write("a", "good");
    let round = watch.until_quiet(1);
    assert_eq!(round.images, [clean_image_of(&project, &kiln)], "{round:?}");
}

/// The image of the same files in the same store, where the base is.
fn clean_image_of(project: &Project, kiln: &Kiln) -> String {
    kiln.build([project.path()]).ok().image()
}
