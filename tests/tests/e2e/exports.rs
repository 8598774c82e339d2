//! TARGET, CHECK and EXPORT: what a build makes beside the last stage's image.

use kiln_tests::{Kiln, Project};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

const FILE: &str = "FROM kiln/host AS app\nRUN echo app > /app\n\
FROM kiln/host AS test FOR X IN 1 2\nRUN mkdir -p /out/deep && echo $X > /out/deep/result\nEXPORT /out AS \"results/${X}\"\n\
FROM kiln/host AS lint\nRUN test ! -e /bad\nFROM app\nRUN cat /app\nTARGET all = app + test[*] + lint\nCHECK lint\n";

#[test]
fn a_target_builds_its_stages_in_one_graph_and_a_check_is_no_image() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", FILE)]));
    let metadata = project.at("meta.json");
    let args = ["--target=all".to_owned(), format!("--metadata-file={}", metadata.display())];
    let build = kiln.build([&args[0], &args[1], project.path().to_str().unwrap()]).ok();
    assert_eq!(build.ran_steps().len(), 4);
    let text = fs::read_to_string(&metadata).unwrap();
    for (name, is_image) in [("app", true), ("test[1]", true), ("test[2]", true), ("lint", false)] {
        assert_eq!(text.contains(&format!("\"{name}\": {{")), is_image, "{name}: {text}");
    }
    // Without a target: the last stage, and the check.
    let default = kiln.build([project.path()]).ok();
    assert_eq!(default.log(), "app\n");
    assert!(default.instructions().iter().any(|line| line == "RUN test ! -e /bad"));
    // A check that fails is a failure, whatever else is built.
    project.write("build.kiln", &FILE.replace("test ! -e /bad", "exit 3"));
    assert_eq!(kiln.build([project.path()]).ran.code, Some(1));
    let named = kiln.build(["--target=app".as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(named.ran_steps(), Vec::<String>::new());
}

#[test]
fn exports_are_written_after_a_good_build_and_nothing_else_is_touched() {
    let (kiln, project) =
        (Kiln::new(), Project::new(&[("build.kiln", FILE), ("results/1/kept", "k"), ("results/1/deep/result", "old")]));
    let read = |path: &str| fs::read_to_string(project.at(path)).ok();
    let inode = |path: &str| fs::metadata(project.at(path)).unwrap().ino();
    let build = |target: &str| kiln.build([format!("--target={target}"), project.path().display().to_string()]);
    // A failure beside it writes nothing.
    project.write("build.kiln", &FILE.replace("test ! -e /bad", "exit 3"));
    assert_eq!(build("all").ran.code, Some(1));
    assert_eq!(read("results/1/deep/result").as_deref(), Some("old"));
    project.write("build.kiln", FILE);
    let first = build("test[*]").ok();
    assert!(!first.ran_steps().is_empty() || first.finished("counts")["hits"].as_u64() > Some(0));
    assert_eq!(
        [read("results/1/deep/result"), read("results/2/deep/result")],
        [Some("1\n".to_owned()), Some("2\n".to_owned())]
    );
    assert_eq!(read("results/1/kept").as_deref(), Some("k"));
    let before = inode("results/1/deep/result");
    assert!(build("test[*]").ok().ran_steps().is_empty());
    assert_eq!(inode("results/1/deep/result"), before, "what is the same is not written");
    let left = walk(project.path()).into_iter().filter(|name| name.contains(".kiln-export")).count();
    assert_eq!(left, 0);
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        all.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            all.extend(walk(&entry.path()));
        }
    }
    all
}

#[test]
fn what_cannot_be_exported_is_told_and_nothing_leaves_the_project() {
    let failing = |lines: &str, prepare: &dyn Fn(&Project)| {
        let text = format!("FROM kiln/host AS one\nRUN echo 1 > /one\n{lines}");
        let project = Project::new(&[("app/build.kiln", &text), ("app/taken/one/x", "")]);
        prepare(&project);
        let ran = Kiln::new().run(["build", "--progress", "quiet", project.at("app").to_str().unwrap()]);
        assert_eq!(ran.code, Some(1), "{lines}: {}", ran.stderr);
        assert_eq!(fs::read_dir(project.path()).unwrap().count(), 1 + usize::from(project.at("outside").exists()));
        assert!(!project.at("outside/one").exists());
        ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT")
    };
    let nothing = |_: &Project| ();
    let link = |project: &Project| {
        fs::create_dir(project.at("outside")).unwrap();
        symlink(project.at("outside"), project.at("app/link")).unwrap();
    };
    insta::assert_snapshot!(
        [
            failing("EXPORT /none AS dist\n", &nothing),
            failing("EXPORT /one AS \"../out\"\n", &nothing),
            failing("EXPORT /one AS /etc\n", &nothing),
            failing("EXPORT /one AS taken\n", &nothing),
            failing("EXPORT /one AS d\nRUN echo 2 > /one\nEXPORT /one AS d\n", &nothing),
            failing("EXPORT /one AS link\n", &link),
        ]
        .join("\n")
    );
}
