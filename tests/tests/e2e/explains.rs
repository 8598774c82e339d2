//! After each of these changes, `kiln explain` names exactly the change that was made as what began it all.
//!
//! A change a row: a project, a first build, the change, a second build. The text is kept whole, times and
//! names of builds redacted.

use kiln_tests::{Kiln, Project, has_tool, skip};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

const DOCKERFILE: &str = r#"FROM kiln/host AS build
ARG VERSION=1
ENV MODE=a
WORKDIR /app
COPY src src
RUN cat src/* > out; echo $VERSION $MODE >> out
RUN --network=none cat out > done
FROM scratch
ARG UNUSED
COPY --from=build /app/out /app/done /
LABEL v=1
CMD ["a"]
"#;

fn project() -> Project {
    let project = Project::new(&[("Dockerfile", DOCKERFILE), ("src/a.txt", "one\n"), ("src/b.txt", "two\n")]);
    symlink("a.txt", project.at("src/link")).unwrap();
    project
}

/// One change: what is done between two builds, and what explains the second.
struct Row {
    name: &'static str,
    /// Replaced in the Dockerfile before the first build.
    before: (&'static str, &'static str),
    first: &'static [&'static str],
    change: fn(&Kiln, &Project),
    second: &'static [&'static str],
    /// Lines that the explanation has, the first root cause before all others.
    expected: &'static [&'static str],
}

const PLAIN: Row = Row { name: "", before: ("", ""), first: &[], change: |_, _| (), second: &[], expected: &[] };

const SOURCES: &str = "[build 5/7] COPY src src: changed";
const NOTHING: &str = "nothing changed: every step hit";

fn edit(project: &Project, old: &str, new: &str) {
    let text = fs::read_to_string(project.at("Dockerfile")).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    project.write("Dockerfile", &text.replacen(old, new, 1));
}

fn rows() -> Vec<Row> {
    vec![
        Row { name: "nothing", expected: &[NOTHING], ..PLAIN },
        Row {
            name: "a file is touched",
            change: |_, project| project.write("src/a.txt", "one\n"),
            expected: &[NOTHING],
            ..PLAIN
        },
        Row {
            name: "a comment in the Dockerfile",
            change: |_, project| edit(project, "WORKDIR", "# here\nWORKDIR"),
            expected: &[NOTHING],
            ..PLAIN
        },
        Row {
            name: "the content of a file",
            change: |_, project| project.write("src/a.txt", "edited\n"),
            expected: &[SOURCES, "~ src/a.txt"],
            ..PLAIN
        },
        Row {
            name: "the mode of a file",
            change: |_, project| {
                fs::set_permissions(project.at("src/a.txt"), fs::Permissions::from_mode(0o664)).unwrap();
            },
            expected: &[SOURCES, "~ src/a.txt mode 644 → 664", "another umask is the likely cause"],
            ..PLAIN
        },
        Row {
            name: "a file is renamed",
            change: |_, project| fs::rename(project.at("src/a.txt"), project.at("src/c.txt")).unwrap(),
            expected: &[SOURCES, "→ src/a.txt → src/c.txt"],
            ..PLAIN
        },
        Row {
            name: "a file is added",
            change: |_, project| project.write("src/new/c.txt", "three\n"),
            expected: &[SOURCES, "+ src/new/c.txt"],
            ..PLAIN
        },
        Row {
            name: "a file is deleted",
            change: |_, project| fs::remove_file(project.at("src/b.txt")).unwrap(),
            expected: &[SOURCES, "− src/b.txt"],
            ..PLAIN
        },
        Row {
            name: "the target of a symbolic link",
            change: |_, project| {
                fs::remove_file(project.at("src/link")).unwrap();
                symlink("b.txt", project.at("src/link")).unwrap();
            },
            expected: &[SOURCES, "~ src/link target a.txt → b.txt"],
            ..PLAIN
        },
        Row {
            name: "a file becomes a directory",
            change: |_, project| {
                fs::remove_file(project.at("src/b.txt")).unwrap();
                project.write("src/b.txt/x", "x\n");
            },
            before: ("cat src/* >", "find src >"),
            expected: &["[build 5/7] COPY src src: changed", "~ src/b.txt type file → directory"],
            ..PLAIN
        },
        Row {
            name: "the ignore file",
            change: |_, project| project.write(".dockerignore", "src/b.txt\n"),
            expected: &[SOURCES, "− src/b.txt", ".dockerignore changed"],
            ..PLAIN
        },
        Row {
            name: "the default of an ARG",
            change: |_, project| edit(project, "VERSION=1", "VERSION=2"),
            expected: &["[build 2/7] ARG VERSION=2: changed", "ARG VERSION=[-1-]{+2+}", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "a build argument",
            second: &["--build-arg", "VERSION=3"],
            expected: &["[build 2/7] ARG VERSION=1: changed", "--build-arg VERSION added", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "a build argument that nothing uses",
            first: &["--build-arg", "UNUSED=1"],
            second: &["--build-arg", "UNUSED=2"],
            expected: &["[stage-1 2/5] ARG UNUSED: changed", "--build-arg UNUSED changed", "nothing ran because of it"],
            ..PLAIN
        },
        Row {
            name: "an ENV",
            change: |_, project| edit(project, "MODE=a", "MODE=b"),
            expected: &["[build 3/7] ENV MODE=b: changed", "ENV MODE=[-a-]{+b+}", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "the text of a RUN",
            change: |_, project| edit(project, "RUN cat src", "RUN sort src"),
            expected: &["[build 6/7] RUN sort src", "[-cat-]{+sort+} src"],
            ..PLAIN
        },
        Row {
            name: "an instruction is inserted",
            change: |_, project| edit(project, "RUN cat src", "RUN echo new > src/new\nRUN cat src"),
            expected: &["[build 6/8] RUN echo new > src/new: added", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "an instruction is removed",
            change: |_, project| edit(project, "RUN echo old > src/old\n", ""),
            before: ("RUN cat src", "RUN echo old > src/old\nRUN cat src"),
            expected: &["[build 6/8] RUN echo old > src/old: removed", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "two instructions change places",
            change: |_, project| edit(project, "RUN echo 1 > 1\nRUN echo 2 > 2\n", "RUN echo 2 > 2\nRUN echo 1 > 1\n"),
            before: ("RUN cat src", "RUN echo 1 > 1\nRUN echo 2 > 2\nRUN cat src"),
            expected: &["moved from place"],
            ..PLAIN
        },
        Row {
            name: "stages change places",
            change: |_, project| {
                edit(project, "FROM scratch AS x\nLABEL x=1\n", "");
                edit(project, "FROM kiln/host AS build", "FROM kiln/host AS build");
                let text = fs::read_to_string(project.at("Dockerfile")).unwrap();
                let text = text.replacen("FROM scratch\n", "FROM scratch AS x\nLABEL x=1\nFROM scratch\n", 1);
                project.write("Dockerfile", &text);
            },
            before: ("FROM kiln/host AS build", "FROM scratch AS x\nLABEL x=1\nFROM kiln/host AS build"),
            expected: &[NOTHING],
            ..PLAIN
        },
        Row {
            name: "--no-cache",
            second: &["--no-cache"],
            expected: &["forced: --no-cache looks no result up"],
            ..PLAIN
        },
        Row {
            name: "the store's layers are gone",
            change: |kiln, _| {
                for entry in fs::read_dir(kiln.store().join("layers")).unwrap() {
                    fs::remove_dir_all(entry.unwrap().path()).unwrap();
                }
            },
            expected: &["evicted: the results are no longer in the store"],
            ..PLAIN
        },
        Row {
            name: "the store is pruned",
            change: |kiln, _| {
                let _pruned = kiln.run(["rmi", "explained"]).ok();
                let _pruned = kiln.run(["prune", "--all"]).ok();
            },
            first: &["-t", "explained"],
            expected: &["evicted: the results are no longer in the store"],
            ..PLAIN
        },
        Row {
            name: "it failed before",
            before: ("cat out > done", "false"),
            expected: &["previous failed: nothing changed since it failed"],
            ..PLAIN
        },
        Row {
            name: "a failure is mended",
            before: ("cat out > done", "false"),
            change: |_, project| edit(project, "none false", "none true"),
            expected: &["[build 7/7] RUN --network=none true: changed", "the command: false → true"],
            ..PLAIN
        },
        Row {
            name: "a LABEL",
            change: |_, project| edit(project, "v=1", "v=2"),
            expected: &["[stage-1 4/5] LABEL v=2: changed", "LABEL v=[-1-]{+2+}", "nothing ran because of it"],
            ..PLAIN
        },
        Row {
            name: "the CMD",
            change: |_, project| edit(project, "[\"a\"]", "[\"b\"]"),
            expected: &["[stage-1 5/5] CMD [\"b\"]: changed", "nothing ran because of it"],
            ..PLAIN
        },
        Row {
            name: "the user",
            before: ("RUN --network=none cat out > done", "USER 0\nRUN cat out > done"),
            change: |_, project| edit(project, "USER 0", "USER root"),
            expected: &["[build 7/8] USER root: changed", "dragged along: 1 step"],
            ..PLAIN
        },
        Row {
            name: "the working directory",
            change: |_, project| edit(project, "WORKDIR /app", "WORKDIR /app/sub"),
            before: ("COPY --from=build /app/out /app/done /", "COPY --from=build /app /app"),
            expected: &["[build 4/7] WORKDIR /app/sub: changed", "the path: /app → /app/sub", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "an option of a mount",
            before: ("RUN cat", "RUN --mount=type=tmpfs,target=/t,size=1m cat"),
            change: |_, project| edit(project, "size=1m", "size=2m"),
            expected: &["the mount /t"],
            ..PLAIN
        },
        Row {
            name: "the value of a secret",
            before: ("RUN cat", "RUN --mount=type=secret,id=s cat"),
            first: &["--secret", "id=s,src=/etc/hostname"],
            second: &["--secret", "id=s,src=/etc/passwd"],
            expected: &[NOTHING],
            ..PLAIN
        },
        Row {
            name: "the body of a heredoc",
            before: ("RUN cat src", "COPY <<EOF /app/src/h\nfirst\nEOF\nRUN cat src"),
            change: |_, project| edit(project, "first\n", "second\n"),
            expected: &["the heredoc EOF", "- first", "+ second"],
            ..PLAIN
        },
        Row {
            name: "the source of a COPY --from",
            change: |_, project| edit(project, "/app/out /app/done /", "/app/src /app/done /"),
            expected: &["[stage-1 3/5] COPY --from=build /app/src /app/done /: changed", "the sources"],
            ..PLAIN
        },
        Row {
            name: "the flag --chmod",
            change: |_, project| edit(project, "COPY src", "COPY --chmod=755 src"),
            expected: &["[build 5/7] COPY --chmod=755 src src: changed", "--chmod"],
            ..PLAIN
        },
        Row {
            name: "the network",
            change: |_, project| edit(project, "RUN cat src", "RUN --network=none cat src"),
            expected: &["the network: host → none"],
            ..PLAIN
        },
        Row {
            name: "the shell",
            change: |_, project| edit(project, "RUN cat src", "SHELL [\"/bin/sh\", \"-ec\"]\nRUN cat src"),
            expected: &["SHELL [\"/bin/sh\", \"-ec\"]: added", "dragged along"],
            ..PLAIN
        },
        Row {
            name: "the key of a step",
            before: ("RUN cat src", "# kiln: --key=files(\"src/a.txt\")\nRUN cat src"),
            change: |_, project| edit(project, "src/a.txt", "src/b.txt"),
            expected: &["[build 6/7] RUN cat src/* > out; echo $VERSION $MODE >> out: changed"],
            ..PLAIN
        },
        Row {
            name: "the time that a key allows is over",
            before: ("RUN cat src", "# kiln: --key=default+time(\"1s\")\nRUN cat src"),
            change: |_, _| std::thread::sleep(Duration::from_millis(1100)),
            expected: &["expired: the time that the key allows is over"],
            ..PLAIN
        },
        Row {
            name: "the target",
            second: &["--target", "build"],
            expected: &["note: the target was the last stage, is build"],
            ..PLAIN
        },
    ]
}

/// The explanation of the second build, what differs from run to run redacted.
fn explained(row: &Row) -> String {
    let (kiln, project) = (Kiln::new(), project());
    edit(&project, row.before.0, row.before.1);
    let path = project.path().display().to_string();
    let build = |args: &[&str]| kiln.build(args.iter().copied().chain([path.as_str()]));
    let _may_fail = build(row.first);
    (row.change)(&kiln, &project);
    let _may_fail = build(row.second);
    redacted(&kiln.run(["explain"]).ok().stdout)
}

fn redacted(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = match line.split_once(" ago: ").or_else(|| line.split_once("just now: ")) {
            Some((_, rest)) if line.starts_with("build ") => format!("build ID, AGE: {rest}"),
            _ if line.starts_with("compared with build ") => "compared with build ID, AGE".to_owned(),
            _ => line.to_owned(),
        };
        let words: Vec<String> =
            line.split(' ').map(|word| if is_time(word) { time(word) } else { digest(word) }).collect();
        // What a hit of no time saved is not said.
        out += words.join(" ").trim_end_matches(", which saved TIME");
        out.push('\n');
    }
    out
}

fn is_time(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';', ':']);
    let number = word.trim_end_matches("ms").trim_end_matches('s');
    number != word && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn time(word: &str) -> String {
    let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
    format!("TIME{end}")
}

fn digest(word: &str) -> String {
    match word.strip_prefix("b3:") {
        Some(_) => "b3:DIGEST".to_owned(),
        None => word.to_owned(),
    }
}

#[test]
fn each_of_many_changes_is_named_as_what_began_it_all() {
    let mut all = String::new();
    let mut wrong = String::new();
    for row in rows() {
        let text = explained(&row);
        let missing: Vec<&&str> = row.expected.iter().filter(|line| !text.contains(**line)).collect();
        // The first root cause is the one that was made.
        let first = row.expected[0];
        let is_first = text.split("\n\n").skip(1).take(1).any(|block| block.contains(first))
            || text.lines().any(|line| line == first);
        if !missing.is_empty() || !is_first && !first.starts_with("note:") {
            wrong += &format!("=== {}: {missing:?} is missing or not first\n{text}\n", row.name);
        }
        all += &format!("=== {}\n{text}\n", row.name);
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::assert_snapshot!(all);
}

#[test]
fn a_copy_that_is_found_names_the_files_that_are_others_than_in_the_last_build() {
    let (kiln, project) = (Kiln::new(), project());
    // The second of the same copies waits for the first, and so finds what that one made.
    let second = "FROM kiln/host\nCOPY --from=one /one /\nCOPY src /s\nRUN cat /s/* > /two\n";
    project.write("Dockerfile", &format!("FROM kiln/host AS one\nCOPY src /s\nRUN cat /s/b.txt > /one\n{second}"));
    let build = || kiln.build([project.path()]).ok();
    let explained = || kiln.run(["explain"]).ok().stdout;
    build();
    project.write("src/a.txt", "1\n");
    let second = build().verdicts();
    assert_eq!(
        second.iter().filter(|line| line.starts_with("COPY src") && line.contains("hit")).count(),
        1,
        "{second:?}"
    );
    let text = explained();
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| block.contains("COPY src /s: changed")).collect();
    assert_eq!(blocks.len(), 2, "{text}");
    assert!(blocks.iter().all(|block| block.contains("files: ~1\n    ~ src/a.txt")), "{text}");
    project.write("src/a.txt", "one\n");
    build();
    let undone = explained();
    assert!(
        undone.contains("COPY src /s: changed\n  files: ~1\n    ~ src/a.txt\n  nothing ran because of it"),
        "{undone}"
    );
}

#[test]
fn a_base_image_that_moved_is_named() {
    let (kiln, project) = (Kiln::new(), Project::new(&[]));
    if has_tool("tar").is_none() {
        skip("tar");
        return;
    }
    project.write("Dockerfile", "FROM base\nCOPY x /x\nFROM base\nCOPY --from=0 /etc/version /version\n");
    project.write("x", "x\n");
    let import = |version: &str| {
        project.write("root/etc/version", version);
        let tar = kiln.scratch().join("base.tar");
        let made = Command::new("tar").arg("-C").arg(project.at("root")).arg("-cf").arg(&tar).arg("etc").status();
        assert!(made.unwrap().success());
        let _image = kiln.run(["import".as_ref(), "base".as_ref(), tar.as_os_str()]).ok();
    };
    import("1\n");
    let _first = kiln.build([project.path()]).ok();
    import("2\n");
    let _second = kiln.build([project.path()]).ok();
    let text = redacted(&kiln.run(["explain"]).ok().stdout);
    assert!(text.contains("FROM base: changed"), "{text}");
    assert!(text.contains("the image"), "{text}");
}

#[test]
fn a_plan_foresees_what_the_build_then_does_and_changes_nothing() {
    let (kiln, project) = (Kiln::new(), project());
    let _first = kiln.build([project.path()]).ok();
    project.write("src/a.txt", "edited\n");
    let builds = kiln.run(["builds", "--format", "json"]).ok().stdout;
    let plan = kiln.run(["plan".as_ref(), project.path().as_os_str()]).ok().stdout;
    assert!(plan.contains("COPY src src: changed"), "{plan}");
    assert_eq!(kiln.run(["builds", "--format", "json"]).ok().stdout, builds);
    let second = kiln.build([project.path()]).ok();
    let foreseen = plan.lines().next().unwrap().split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    assert_eq!(foreseen, second.ran_steps().len(), "{plan}\n{:#?}", second.verdicts());
}

#[test]
fn a_plan_says_what_an_edit_would_cost_and_which_files_nobody_reads() {
    let (kiln, project) = (Kiln::new(), project());
    let _first = kiln.build([project.path()]).ok();
    let plan = |file: &str| {
        let file = project.at(file);
        kiln.run(["plan".as_ref(), "--changed".as_ref(), file.as_os_str(), project.path().as_os_str()]).ok().stdout
    };
    let cost = plan("src/a.txt");
    assert!(cost.contains("COPY src src: changed") && cost.contains("~ src/a.txt"), "{cost}");
    let nothing = plan("README");
    assert!(nothing.contains("none of") && nothing.contains("no step reads README"), "{nothing}");
}

#[test]
fn a_miss_fails_the_build_before_it_runs_where_that_is_asked_for() {
    let (kiln, project) = (Kiln::new(), project());
    let _first = kiln.build([project.path()]).ok();
    let asked = |flag: &str| kiln.build([flag.as_ref(), project.path().as_os_str()]);
    assert_eq!(asked("--fail-on-miss").ran.code, Some(0));
    assert_eq!(asked("--fail-on-miss=other").ran.code, Some(1), "nothing changed, and still no stage is called so");
    project.write("src/a.txt", "edited\n");
    assert_eq!(asked("--fail-on-miss=build").ran.code, Some(3));
    assert_eq!(asked("--fail-on-miss=other").ran.code, Some(1), "no stage is called so");
    // The last stage, which has no name, is not needed and so does not miss.
    let args = ["--fail-on-miss=1", "--target=build", project.path().to_str().unwrap()];
    let second = kiln.build(args);
    assert_eq!((second.ran.code, second.ran_steps().is_empty()), (Some(0), false));
}

#[test]
fn a_command_that_makes_something_else_each_time_is_found_by_verify() {
    let kiln = Kiln::new();
    let project = Project::new(&[(
        "Dockerfile",
        "FROM kiln/host\nRUN echo same > /same\nRUN cat /proc/sys/kernel/random/uuid > /random\n",
    )]);
    let first = kiln.build([project.path()]).ok();
    let verified = kiln.build(["--verify".as_ref(), project.path().as_os_str()]);
    assert_eq!(verified.ran.code, Some(4), "{}", verified.ran.stderr);
    let all = verified.verdicts();
    assert!(all.iter().any(|line| line.ends_with("hit (local, verified)")), "{all:#?}");
    assert!(all.iter().any(|line| line.ends_with("hit (local, not deterministic)")), "{all:#?}");
    assert!(verified.ran.stderr.contains("/random changed") || verified.ran.stdout.contains("/random changed"));
    assert_eq!(kiln.build([project.path()]).ok().image(), first.image());
}

#[test]
fn the_output_of_a_step_can_be_read_again_without_its_secrets() {
    let kiln = Kiln::new();
    let project = Project::new(&[
        ("Dockerfile", "FROM kiln/host\nRUN --mount=type=secret,id=s cat /run/secrets/s; echo told\n"),
        ("secret", "hunter2hunter2\n"),
    ]);
    let secret = format!("id=s,src={}", project.at("secret").display());
    let _build = kiln.build(["--secret".as_ref(), secret.as_ref(), project.path().as_os_str()]).ok();
    let log = kiln.run(["log", "2"]).ok();
    assert!(log.stdout.contains("told"), "{log:?}");
    assert!(!log.stdout.contains("hunter2"), "{log:?}");
}

#[test]
fn two_builds_are_told_apart() {
    let (kiln, project) = (Kiln::new(), project());
    let ids = |build: &kiln_tests::Build| build.events[0]["build"].as_str().unwrap_or_default().to_owned();
    let first = ids(&kiln.build([project.path()]).ok());
    edit(&project, "MODE=a", "MODE=b");
    let second = ids(&kiln.build([project.path()]).ok());
    let text = kiln.run(["diff", &first, &second]).ok().stdout;
    assert!(text.contains("[build 3/7] ENV MODE=b: changed") && text.contains("dragged along"), "{text}");
    assert!(kiln.run(["diff", &first, &first]).ok().stdout.contains(NOTHING));
}

#[test]
fn a_plan_is_shown_from_the_file_alone() {
    let dockerfile = "ARG V=3\nFROM registry.invalid/base:${V} AS build\nARG V\nENV A=$V\nWORKDIR /src\nCOPY . .\nRUN make $A\n\
                      FROM scratch AS other\nCOPY --from=build /src/out /other-$V\n\
                      FROM busybox:$V\nCOPY --from=build /src/out /bin/\nCOPY --from=other / /\nCMD [\"/bin/out\"]\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let kiln = Kiln::new();
    let path = project.path().to_str().unwrap();
    let text = kiln.run(["plan", "--graph", path]).ok().stdout;
    let with_value = kiln.run(["plan", "--graph", "--build-arg", "V=4", "--target", "other", path]).ok().stdout;
    insta::assert_snapshot!(text + "\n" + &with_value);
    let data = kiln.run(["plan", "--graph", "--json", path]).ok().stdout;
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["steps"][10]["needs"], serde_json::json!([8, 10]), "{data:#}");
    assert!(!kiln.store().exists(), "nothing but the file is read or written");
}
