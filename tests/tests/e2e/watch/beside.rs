//! What is watched beside the context: named contexts, what links lead to, the commit of a repository.

use super::{Watch, timeless};
use kiln_tests::{Busybox, Project, has_tool};
use std::process::Command;

#[test]
fn named_contexts_are_watched_with_their_ignore_files() {
    let project = Project::new(&[
        ("app/Dockerfile", "FROM scratch\nCOPY a /\nCOPY --from=lib src/ /lib/\n"),
        ("app/a", "1"),
        ("lib/src/x", "1"),
        ("lib/src/x.log", "1"),
        ("lib/docs/x", "1"),
        ("lib/.dockerignore", "**/*.log\n"),
    ]);
    let (app, lib) = (project.at("app"), format!("lib={}", project.at("lib").display()));
    let context = ["--build-context", lib.as_str()];
    let clean = || {
        let mut args = context.to_vec();
        args.push(app.to_str().unwrap());
        timeless().build(args).ok().image()
    };
    let kiln = timeless();
    let (mut watch, first) = Watch::start_at(&kiln, &app, &context);
    assert_eq!(first.images, [clean()]);
    for (path, content) in [("lib/src/x", "2"), ("app/a", "2"), ("lib/src/new/y", "1"), ("lib/.dockerignore", "")] {
        project.write(path, content);
        let round = watch.until_quiet(1);
        assert_eq!(round.images, [clean()], "{path}");
        assert!(round.changes.concat().iter().any(|changed| path.ends_with(changed) || changed.ends_with(path)));
    }
    std::fs::rename(project.at("lib/src/new"), project.at("lib/src/newer")).unwrap();
    assert_eq!(watch.until_quiet(1).images, [clean()]);
    project.write("lib/docs/x", "2");
    project.write("lib/a", "2");
    assert!(watch.until_quiet(0).images.is_empty());
}

#[test]
fn a_dockerfile_or_a_context_behind_a_link_is_watched_where_it_is() {
    let project = Project::new(&[
        ("one/Dockerfile", "FROM scratch\nCOPY a /\n"),
        ("one/a", "1"),
        ("two/a", "2"),
        ("shared/File", "FROM scratch\nCOPY a /\n"),
    ]);
    std::os::unix::fs::symlink("../shared/File", project.at("two/Dockerfile")).unwrap();
    std::os::unix::fs::symlink("one", project.at("now")).unwrap();
    let clean = || timeless().build([&project.at("now")]).ok().image();
    let kiln = timeless();
    let (mut watch, first) = Watch::start_at(&kiln, &project.at("now"), &[]);
    assert_eq!(first.images, [clean()]);
    std::fs::remove_file(project.at("now")).unwrap();
    std::os::unix::fs::symlink("two", project.at("now")).unwrap();
    assert_eq!(watch.until_quiet(1).images.last(), Some(&clean()));
    project.write("two/a", "3");
    assert_eq!(watch.until_quiet(1).images, [clean()]);
    project.write("shared/File", "FROM scratch\nCOPY a /b\n");
    assert_eq!(watch.until_quiet(1).images, [clean()]);
    project.write("one/a", "4");
    assert!(watch.until_quiet(0).images.is_empty());
}

#[test]
fn a_commit_wakes_it_where_a_key_asks_for_it_and_only_there() {
    let Some(git) = has_tool("git") else { return };
    let asking = "FROM busybox\nCOPY a /\n# kiln: --key=git(\"head\")\nRUN echo built > /out\n";
    let project = Project::new(&[("Dockerfile", &asking.replace("# kiln: --key=git(\"head\")\n", "")), ("a", "1")]);
    let commit = |message: &str| {
        let mut command = Command::new(&git);
        command.current_dir(project.path()).env("HOME", project.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", message]);
        assert!(command.status().unwrap().success());
    };
    assert!(Command::new(&git).current_dir(project.path()).args(["init", "-q"]).status().unwrap().success());
    commit("one");
    let kiln = timeless();
    let Some(()) = Busybox::import(&kiln) else { return };
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!(first.images.len(), 1, "{first:?}");
    commit("two");
    assert!(watch.until_quiet(0).images.is_empty());
    project.write("Dockerfile", asking);
    assert!(!watch.until_quiet(1).images.is_empty());
    commit("three");
    let round = watch.until_quiet(1);
    assert_eq!(round.images.len(), 1, "{round:?}");
    assert_eq!(watch.verdicts_of("RUN echo built").last().map(String::as_str), Some("miss"));
}

#[test]
fn an_included_file_is_watched_and_one_that_is_missing_is_waited_for() {
    let project =
        Project::new(&[("Dockerfile.kiln", "FROM scratch\nINCLUDE \"parts/copy.kiln\"\n"), ("a", "1"), ("b", "1")]);
    std::fs::create_dir(project.at("parts")).unwrap();
    let clean = || timeless().build([project.path()]).ok().image();
    let kiln = timeless();
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!((first.images.len(), first.errors.len()), (0, 1), "{first:?}");
    for text in ["COPY a /\n", "COPY a b /\n"] {
        project.write("parts/copy.kiln", text);
        assert_eq!(watch.until_quiet(1).images.last(), Some(&clean()), "{text}");
    }
    project.write("b", "2");
    assert_eq!(watch.until_quiet(1).images, [clean()]);
}

#[test]
fn an_included_file_is_watched_and_so_is_one_that_is_not_there_yet() {
    let main = "INCLUDE \"lib/common.kiln\"\nFROM scratch\nUSE put(a)\n";
    let common = |place: &str| format!("DEF put(name)\nCOPY $name {place}\nEND\n");
    let project = Project::new(&[("build.kiln", main), ("lib/common.kiln", &common("/one")), ("a", "1")]);
    let clean = || timeless().build([project.path()]).ok().image();
    let kiln = timeless();
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    assert_eq!(first.images, [clean()]);
    project.write("lib/common.kiln", &common("/two"));
    let round = watch.until_quiet(1);
    assert_eq!(round.images, [clean()], "{round:#?}");
    assert!(round.changes.concat().iter().any(|path| path.ends_with("lib/common.kiln")), "{round:#?}");
    // What it includes next is watched from then on, from before it is there.
    project.write("lib/common.kiln", "INCLUDE \"more.kiln\"\n");
    assert!(watch.until_quiet(1).errors.last().is_some());
    project.write("lib/more.kiln", &common("/three"));
    assert_eq!(watch.until_quiet(1).images, [clean()]);
    project.write("lib/more.kiln", &common("/four"));
    assert_eq!(watch.until_quiet(1).images, [clean()]);
}
