//! `FROM base + deps + assets`: layers of several branches on one another.

use kiln_tests::{Busybox, Kiln, Project};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn kiln() -> Option<Kiln> {
    let kiln = Kiln::new();
    Busybox::import(&kiln)?;
    Some(kiln)
}

/// Builds `build.kiln` and writes the image's files to `out`.
fn built(kiln: &Kiln, file: &str) -> kiln_tests::Build {
    let project = Project::new(&[("build.kiln", file)]);
    let out = kiln.scratch().join("out");
    let _ = fs::remove_dir_all(&out);
    let output = format!("type=local,dest={}", out.display());
    kiln.build(["-o", &output, project.path().to_str().unwrap()])
}

fn read(kiln: &Kiln, path: &str) -> String {
    fs::read_to_string(kiln.scratch().join("out").join(path)).unwrap_or_else(|error| format!("{error}"))
}

/// The layers of an image, as its history tells them: the instruction of each.
fn layers(kiln: &Kiln, name: &str) -> Vec<String> {
    let inspected = kiln.run(["inspect", name]).ok().stdout;
    let value: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let config = value.get(0).unwrap_or(&value);
    let history = config["config"]["history"].as_array().or(config["history"].as_array()).cloned().unwrap_or_default();
    let has_layer = |entry: &&serde_json::Value| entry["empty_layer"] != true;
    history.iter().filter(has_layer).map(|entry| entry["created_by"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_branches_added_is_stacked_and_nothing_is_copied() {
    let Some(kiln) = kiln() else { return };
    let file = |deps: &str| {
        format!(
            "FROM busybox AS base\nENV WHO=base\nRUN mkdir -p /app && echo base > /app/base\n\
             FROM base AS deps\nENV WHO=deps\nRUN echo {deps} > /app/deps && rm /app/base\n\
             FROM base AS assets\nRUN mkdir /app/www && echo assets > /app/www/index\n\
             FROM scratch AS files\nCOPY <<f /app/extra\nextra\nf\n\
             FROM base + deps + assets + files AS all\nRUN echo $WHO; ls /app\n"
        )
    };
    let first = built(&kiln, &file("one")).ok();
    assert_eq!(first.log(), "base\ndeps\nextra\nwww\n");
    assert_eq!([read(&kiln, "app/deps"), read(&kiln, "app/www/index")], ["one\n", "assets\n"]);
    assert!(!kiln.scratch().join("out/app/base").exists());
    assert!(built(&kiln, &file("one")).ok().ran_steps().is_empty());
    // Another result of one branch concerns that one, the merge, and what is behind it.
    let again = built(&kiln, &file("two")).ok();
    let ran = again.ran_steps();
    let root = "[deps 3/3] RUN echo two > /app/deps && rm /app/base";
    assert_eq!(
        ran,
        [
            "RUN echo two > /app/deps && rm /app/base = miss (first time)".to_owned(),
            format!("FROM base + deps + assets + files AS all = miss (parent changed ← {root})"),
            format!("RUN echo $WHO; ls /app = miss (parent changed ← {root}: app/deps changed)"),
        ]
    );
    assert_eq!(read(&kiln, "app/deps"), "two\n");
}

#[test]
fn an_image_has_the_layers_of_all_branches_once() {
    let Some(kiln) = kiln() else { return };
    let file = "FROM busybox AS base\nRUN echo 1 > /1\nFROM base AS a\nRUN echo a > /a\nFROM base AS b\nRUN echo b > /b\n\
                FROM b AS c\nRUN echo c > /c\nFROM a + c + b AS all\nCMD [\"ls\"]\n";
    let project = Project::new(&[("build.kiln", file)]);
    let _built = kiln.build(["-t", "all", project.path().to_str().unwrap()]).ok();
    let layers = layers(&kiln, "all");
    let told: Vec<&str> = layers.iter().filter_map(|text| text.split("echo ").nth(1)?.split(' ').next()).collect();
    assert_eq!(told, ["1", "a", "b", "c"], "{layers:#?}");
    assert_eq!(kiln.run(["run", "all", "cat", "/1", "/a", "/b", "/c"]).stdout, "1\na\nb\nc\n");
}

#[test]
fn a_path_that_two_branches_changed_differently_is_named_and_the_last_one_wins_where_it_may() {
    let Some(kiln) = kiln() else { return };
    let file = |rest: &str| {
        format!(
            "FROM busybox AS base\nRUN mkdir /d && echo old > /d/f\n\
             FROM base AS a\nRUN echo a > /d/f; echo same > /d/same\nFROM base AS b\nRUN echo b > /d/f; echo same > /d/same\n\
             FROM base AS gone\nRUN rm -r /d\n{rest}\n"
        )
    };
    let failed = built(&kiln, &file("FROM a + b AS all")).ran;
    assert_eq!(failed.code, Some(1));
    insta::assert_snapshot!(without_paths(&failed.stderr));
    let failed = built(&kiln, &file("FROM a + gone AS all")).ran;
    assert!(failed.stderr.contains("/d is changed differently by a and gone"), "{}", failed.stderr);
    let _built = built(&kiln, &file("FROM a + b AS all ON CONFLICT LAST")).ok();
    assert_eq!([read(&kiln, "d/f"), read(&kiln, "d/same")], ["b\n", "same\n"]);
    let _built = built(&kiln, &file("FROM gone + b AS all ON CONFLICT LAST")).ok();
    assert_eq!(read(&kiln, "d/f"), "b\n");
}

/// The text with the project's directory taken out of the file's name.
fn without_paths(text: &str) -> String {
    let directory = std::env::temp_dir().display().to_string();
    let place = |line: &str| match (line.find(&directory), line.find("build.kiln")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &line[..start], &line[end..]),
        _ => line.to_owned(),
    };
    text.lines().map(place).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_directory_keeps_what_the_branch_that_changed_it_made_of_it_in_any_order() {
    let Some(kiln) = kiln() else { return };
    let start = "FROM busybox AS base\nRUN mkdir /d && chmod 755 /d\nFROM base AS a\nRUN chmod 700 /d\n\
                 FROM base AS b\nRUN echo b > /d/b\nFROM base AS c\nRUN echo c > /d/c\n";
    for merge in ["a + b + c", "b + a + c", "b + c + a", "base + c + a + b"] {
        let _built = built(&kiln, &format!("{start}FROM {merge} AS all\nRUN stat -c %a /d > /mode\n")).ok();
        let mode = fs::metadata(kiln.scratch().join("out/d")).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode, read(&kiln, "mode").as_str()), (0o700, "700\n"), "{merge}");
        assert_eq!([read(&kiln, "d/b"), read(&kiln, "d/c")], ["b\n", "c\n"], "{merge}");
    }
}

#[test]
fn what_cannot_be_merged_is_told_while_planning() {
    let Some(kiln) = kiln() else { return };
    let told = |file: &str| {
        let ran = built(&kiln, file).ran;
        assert_eq!(ran.code, Some(1), "{file}");
        without_paths(&ran.stderr)
    };
    let all = [
        "FROM busybox AS a\nFROM a + nowhere AS b\n",
        "FROM busybox AS a\nFROM kiln/host AS h\nFROM a + h AS b\n",
        "FROM scratch AS a\nFROM busybox AS h\nFROM a + h AS b\n",
        "FROM busybox AS a\nFROM a + AS b\n",
        "FROM busybox AS a\nFROM a AS b ON CONFLICT LAST\n",
        "FROM busybox AS a\nFROM a AS c\nFROM a + c AS b ON CONFLICT FIRST\n",
    ]
    .map(told);
    insta::assert_snapshot!(all.join("\n"));
    let plain = Project::new(&[("Dockerfile", "FROM busybox AS a\nFROM a AS b\nFROM a + b\n")]);
    let ran = kiln.build([plain.path()]).ran;
    assert!(ran.stderr.contains("changes the image, and Docker cannot read it"), "{}", ran.stderr);
}

#[test]
fn the_checks_see_what_is_merged() {
    let project = Project::new(&[(
        "build.kiln",
        "FROM busybox AS base\nFROM scratch AS files\nMAINTAINER me\nCOPY build.kiln /\nFROM base + files AS all\n",
    )]);
    let ran = Kiln::new().run(["check", project.path().to_str().unwrap()]);
    assert!(ran.stdout.contains("MaintainerDeprecated") && !ran.stdout.contains("UnusedStage"), "{}", ran.stdout);
}
