//! Several targets in one build: each step once, each result under its own name.

use kiln_tests::{Kiln, Project, Ran};
use std::ffi::OsString;

const TEXT: &str = "FROM kiln/host AS base\nRUN echo base > /base\n\
    FROM base AS app\nRUN echo app > /app\n\
    FROM base AS docs\nRUN echo docs > /docs\n\
    FROM scratch AS unused\nCOPY missing /\n";

fn project() -> Project {
    Project::new(&[("Dockerfile", TEXT)])
}

fn args(project: &Project, args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).chain([project.path().as_os_str().to_owned()]).collect()
}

#[test]
fn several_targets_share_their_steps_and_each_runs_once() {
    let (kiln, project) = (Kiln::new(), project());
    let build = kiln.build(args(&project, &["--target", "app", "--target", "docs"])).ok();
    let ran: Vec<String> = build.ran_steps().into_iter().filter(|line| !line.starts_with("FROM")).collect();
    assert_eq!(
        ran,
        [
            "RUN echo base > /base = miss (first time)",
            "RUN echo app > /app = miss (first time)",
            "RUN echo docs > /docs = miss (first time)",
        ]
    );
    let results = build.finished("results");
    let named: Vec<&str> = results.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["app", "docs"]);
    assert_eq!(build.finished("image"), serde_json::Value::Null);
    // What one alone needs is there already.
    let alone = kiln.build(args(&project, &["--target", "docs"])).ok();
    assert!(alone.ran_steps().is_empty(), "{:#?}", alone.verdicts());
    assert_eq!(results[1]["image"], alone.image());
    // The same stage twice is one result.
    let twice = kiln.build(args(&project, &["--target", "docs", "--target", "docs"])).ok();
    assert_eq!(twice.image(), alone.image());
}

#[test]
fn each_target_has_its_own_names_files_and_ids() {
    let (kiln, project) = (
        Kiln::new(),
        Project::new(&[
            ("Dockerfile", "FROM scratch AS base\nCOPY a /\nFROM base AS one\nCOPY b /\nFROM base AS two\nCOPY c /\n"),
            ("a", "a"),
            ("b", "b"),
            ("c", "c"),
        ]),
    );
    let at = |name: &str| kiln.scratch().join(name).display().to_string();
    let (out, oci, iid) = (at("out"), format!("type=oci,tar=false,dest={}", at("layout")), at("iid"));
    let all = [
        "--target",
        "one",
        "--target",
        "two",
        "-t",
        "one=first:1",
        "-t",
        "two=second",
        "-o",
        &out,
        "-o",
        &oci,
        "--iidfile",
        &iid,
    ];
    let _build = kiln.build(args(&project, &all)).ok();
    assert!(kiln.scratch().join("out/one/b").is_file() && kiln.scratch().join("out/two/c").is_file());
    assert!(!kiln.scratch().join("out/two/b").exists());
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(kiln.scratch().join("layout/index.json")).unwrap()).unwrap();
    let refs: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    assert_eq!(refs, ["docker.io/library/first:1", "docker.io/library/second:latest"]);
    let ids = std::fs::read_to_string(kiln.scratch().join("iid")).unwrap();
    let lines: Vec<(&str, &str)> = ids.lines().map(|line| line.split_once("  ").unwrap()).collect();
    assert_eq!(lines.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["one", "two"]);
    assert!(lines.iter().all(|(id, _)| id.starts_with("sha256:")) && lines[0].0 != lines[1].0);
    for (name, file) in [("first:1", "COPY b"), ("second", "COPY c")] {
        assert!(kiln.run(["history", name]).ok().stdout.contains(file));
    }
}

#[test]
fn targets_and_platforms_are_one_graph() {
    let (kiln, project) = (
        Kiln::new(),
        Project::new(&[
            ("Dockerfile", "FROM scratch AS base\nCOPY a /\nFROM base AS one\nCOPY b /\nFROM base AS two\nCOPY c /\n"),
            ("a", "a"),
            ("b", "b"),
            ("c", "c"),
        ]),
    );
    let build = kiln
        .build(args(&project, &["--target", "one", "--target", "two", "--platform", "linux/amd64,linux/arm64"]))
        .ok();
    assert_eq!(
        build.ran_steps(),
        ["COPY a / = miss (first time)", "COPY b / = miss (first time)", "COPY c / = miss (first time)"]
    );
    assert_eq!(build.finished("results").as_array().unwrap().len(), 2);
}

#[test]
fn all_branches_of_a_matrix_are_one_target() {
    let text = "FROM scratch AS base\nCOPY a /\nFROM base AS test FOR V IN 1 2\nLABEL v=$V\nCOPY a /$V\n";
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", text), ("a", "a")]));
    let out = kiln.scratch().join("out");
    let build = kiln.build(args(&project, &["--target", "test[*]", "-o", out.to_str().unwrap()])).ok();
    assert_eq!(build.ran_steps().iter().filter(|line| line.starts_with("COPY a / ")).count(), 1);
    let names = build.finished("results");
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["test[1]", "test[2]"]);
    assert!(out.join("test[1]/1").is_file() && out.join("test[2]/2").is_file());
}

#[test]
fn what_several_results_cannot_share_is_refused_with_a_way_out() {
    let (kiln, project) = (Kiln::new(), project());
    let mut shown = String::new();
    for more in [
        &["-t", "app:1"][..],
        &["-t", "base=app:1"],
        &["-o", "type=tar,dest=out.tar"],
        &["-o", "type=docker,dest=out.tar"],
        &["--target", "dosc"],
    ] {
        let mut all = vec!["build", "--progress", "plain", "--target", "app", "--target", "docs"];
        all.extend(more);
        let ran = kiln.run(args(&project, &all));
        assert!(!ran.stderr.contains("running"), "{}", ran.stderr);
        let text = ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT");
        shown.push_str(&format!("$ kiln build --target app --target docs {}\n{text}\n", more.join(" ")));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn targets_of_the_project_file_are_built_by_name_in_as_few_graphs_as_can_be() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM kiln/host AS base\nARG V\nRUN echo $V > /v\nFROM base AS app\nRUN echo app > /app\n\
            FROM scratch AS lint\nCOPY --from=base /v /\n",
        ),
        ("docs/Dockerfile", "FROM scratch\nCOPY page /\n"),
        ("docs/page", "page"),
        (
            "kiln.ron",
            "(\n  defaults: (args: {\"V\": \"${VERSION:-none}\"}),\n  default: [\"all\"],\n  targets: {\n    \
            // The application.\n    \"app\": (stage: \"app\", tags: [\"app:${VERSION:-none}\"]),\n    \
            \"lint\": (stage: \"lint\", outputs: [\"type=local,dest=lint-out\"]),\n    \
            \"docs\": (context: \"docs\", outputs: [\"docs-out\"]),\n  },\n  groups: {\"all\": [\"app\", \"lint\", \"docs\"]},\n)\n",
        ),
    ]);
    let kiln = Kiln::new().env("VERSION", "1.2");
    let build = kiln.build(args(&project, &["app", "lint"])).ok();
    assert_eq!(build.ran_steps().iter().filter(|line| line.starts_with("RUN echo $V")).count(), 1);
    assert_eq!(std::fs::read_to_string(project.at("lint-out/v")).unwrap(), "1.2\n");
    assert!(kiln.run(["images"]).ok().stdout.contains("docker.io/library/app:1.2"));
    assert!(!project.at("docs-out").exists());
    // Without a name the default is built; docs has a context, and so a graph, of its own.
    let all = kiln.build(args(&project, &[])).ok();
    let begun = all.events.iter().filter(|event| event["event"] == "build_started").count();
    assert_eq!(begun, 2);
    assert!(project.at("docs-out/page").is_file());
    let listed = kiln.run([std::ffi::OsString::from("targets"), project.path().into()]).ok().stdout;
    assert!(listed.contains("The application.") && listed.contains("app, lint, docs"), "{listed}");
    let planned =
        kiln.run([std::ffi::OsString::from("plan"), project.path().into(), "app".into(), "lint".into()]).ok().stdout;
    assert!(planned.contains("steps would run"), "{planned}");
}

#[test]
fn without_a_project_file_a_word_is_a_stage_or_a_target_of_the_dockerfile() {
    let text = "FROM scratch AS base\nCOPY a /\nFROM base AS app\nCOPY b /\nFROM base AS docs\nCOPY c /\nTARGET all = app + docs\n";
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", text), ("a", "a"), ("b", "b"), ("c", "c")]));
    let word = |word: &str| kiln.build([project.path().as_os_str(), word.as_ref()]);
    let all = word("all").ok();
    assert_eq!(all.ran_steps().len(), 3, "{:#?}", all.ran_steps());
    assert_eq!(all.finished("results").as_array().unwrap().len(), 2);
    assert!(word("docs").ok().ran_steps().is_empty());
    let wrong = word("dcos");
    assert!(wrong.ran.stderr.contains("docs"), "{}", wrong.ran.stderr);
}

/// Two targets of one graph, one of another context.
fn several() -> Project {
    Project::new(&[
        ("Dockerfile", "FROM scratch AS base\nCOPY a /\nFROM base AS app\nCOPY b /\nFROM base AS lint\nCOPY c /\n"),
        ("a", "a"),
        ("b", "b"),
        ("c", "c"),
        ("docs/Dockerfile", "FROM scratch\nCOPY page /\n"),
        ("docs/page", "page"),
        (
            "kiln.ron",
            "(targets: {\"app\": (stage: \"app\"), \"lint\": (stage: \"lint\"), \"docs\": (context: \"docs\")}, \
             groups: {\"own\": [\"app\", \"lint\"], \"all\": [\"own\", \"docs\"]})",
        ),
    ])
}

#[test]
fn several_builds_are_planned_one_after_the_other_and_what_takes_one_says_how() {
    let (kiln, project) = (Kiln::new(), several());
    let run = |words: &[&str]| {
        let output = kiln.command(words).current_dir(project.path()).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        format!("$ kiln {}\n{text}", words.join(" "))
    };
    let all = [
        run(&["plan", "own"]),
        run(&["plan", "all"]),
        run(&["plan", "--graph", "all"]),
        run(&["plan", "--json", "all"]),
        run(&["plan", "--graph=dot", ".", "docs", "app"]),
        run(&["watch", "all"]),
    ];
    // How long a step would take that never ran is not known.
    insta::assert_snapshot!(all.join("\n").replace(project.path().to_str().unwrap(), "PROJECT"));
}

#[test]
fn the_last_build_of_a_target_is_explained_by_its_name() {
    let (kiln, project) = (Kiln::new(), several());
    let run = |words: &[&str]| Ran::from(kiln.command(words).current_dir(project.path()).output().unwrap()).ok().stdout;
    run(&["build", "-q", "all"]);
    project.write("b", "2");
    run(&["build", "-q", "app"]);
    run(&["build", "-q", "docs"]);
    assert!(run(&["explain", "app"]).contains("COPY b /"), "{}", run(&["explain", "app"]));
    assert!(run(&["explain", "own"]).contains("COPY b /"));
    assert!(run(&["graph", "docs"]).contains("COPY page /"));
    assert!(run(&["explain", "app", "2"]).contains("COPY a /"));
    assert!(run(&["explain", "lint", "4"]).contains("COPY b /"), "the build that made both");
}
