//! The examples build as they stand.

use kiln_tests::{Kiln, has_tool, skip};
use std::path::{Path, PathBuf};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[test]
fn hello_builds_without_a_registry_and_greets_everybody_once() {
    let Some(_compiler) = has_tool("cc") else { return };
    let kiln = Kiln::new();
    let build = kiln.build(["-t".as_ref(), "hello".as_ref(), example("hello").as_os_str()]).ok();
    assert_eq!(build.log(), "Hello, kiln!\nHello, world!\n");
    assert_eq!(build.finished("counts")["steps"], 12);
    let again = kiln.build([example("hello")]).ok();
    assert_eq!(again.ran_steps(), Vec::<String>::new());
}

/// A copy of an example, which a build may write into.
fn copied(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &to.join(entry.file_name())),
                false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&example(name), dir.path());
    dir
}

/// Whether the host's own /usr, which is `kiln/host`, has a program.
fn host_has(program: &str) -> bool {
    Path::new(program).exists() || !skip(program)
}

#[test]
fn three_versions_of_python_are_tested_side_by_side_and_their_reports_gathered() {
    if !host_has("/usr/bin/python3") {
        return;
    }
    let (kiln, project) = (Kiln::new(), copied("python-matrix"));
    // No registry is there: the host's Python stands for all three.
    let args = ["--target=all".as_ref(), "--build-arg=BASE=kiln/host".as_ref(), project.path().as_os_str()];
    let build = kiln.build(args).ok();
    let tests = build.instructions().iter().filter(|line| line.contains("unittest")).count();
    assert_eq!(tests, 3);
    for (version, is_newest) in [("3.11", false), ("3.12", false), ("3.13", true)] {
        let report = std::fs::read_to_string(project.path().join("reports").join(version).join("tests.txt")).unwrap();
        assert!(report.contains("test_everybody_is_greeted_by_name"), "{report}");
        assert_eq!(report.contains("the newest"), is_newest, "{version}: {report}");
    }
    let again = kiln.build(args).ok();
    assert_eq!(again.ran_steps(), Vec::<String>::new(), "what was exported is no part of the context");
}

#[test]
fn a_rust_workspace_builds_its_dependencies_before_its_sources() {
    if !host_has("/usr/bin/cargo") {
        return;
    }
    let (kiln, project) = (Kiln::new(), copied("rust-workspace"));
    let args = ["--build-arg=BASE=kiln/host".as_ref(), project.path().as_os_str()];
    assert!(kiln.build(args).ok().log().contains("everybody_is_greeted_by_name ... ok"));
    std::fs::write(project.path().join("app/src/main.rs"), "fn main() {}\n").unwrap();
    let again = kiln.build(args).ok().ran_steps();
    assert!(!again.iter().any(|step| step.contains("RUN mkdir")), "{again:#?}");
}

#[test]
fn three_services_share_their_base_and_what_is_generated_for_them() {
    let (kiln, project) = (Kiln::new(), copied("monorepo"));
    let args = ["--target=all".as_ref(), project.path().as_os_str()];
    let build = kiln.build(args).ok();
    for service in ["api", "web", "worker"] {
        assert!(build.log().contains(&format!("{service} is complete\n")), "{}", build.log());
    }
    let lines = build.instructions();
    let count = |text: &str| lines.iter().filter(|line| line.starts_with(text)).count();
    assert_eq!((count("RUN mkdir /out"), count("COPY lib"), count("RUN sh /srv/app/check.sh")), (2, 1, 3));
    // One service changes: the others and what is shared stay.
    std::fs::write(project.path().join("services/web/extra"), "").unwrap();
    let again = kiln.build(args).ok().ran_steps();
    assert!(!again.is_empty() && again.iter().all(|step| step.contains("web")), "{again:#?}");
}

#[test]
fn a_site_is_merged_of_its_assets_and_its_server() {
    let (kiln, project) = (Kiln::new(), copied("site"));
    let build = kiln.build([project.path()]).ok();
    assert_eq!(build.log(), "serving public/index.html\nserving public/site.css\n");
    std::fs::write(project.path().join("assets/b-heading.css"), "h1 { color: navy }\n").unwrap();
    let again = kiln.build([project.path()]).ok().ran_steps();
    assert!(!again.iter().any(|step| step.contains("serve.sh")), "{again:#?}");
}
