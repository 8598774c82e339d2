//! RUN steps that are skipped by what they were seen to depend on: a `COPY . .` before an install that never
//! reads the sources.

use kiln_tests::{Build, Kiln, Project};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const COPY_ALL_FIRST: &str =
    "FROM kiln/host\nWORKDIR /app\nCOPY . .\nRUN cat package.json > installed; ls *.lock > locks || true\n";

fn project() -> Project {
    let project = Project::new(&[
        ("Dockerfile", COPY_ALL_FIRST),
        (".dockerignore", "Dockerfile\n"),
        ("package.json", "{}\n"),
        ("src/index.js", "one\n"),
        ("src/b.js", "b\n"),
    ]);
    symlink("index.js", project.at("src/main")).unwrap();
    project
}

/// Which of COPY and RUN ran.
fn ran(build: &Build) -> Vec<String> {
    build.ran_steps().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The files of a build's image that lie below /app.
fn exported(kiln: &Kiln, project: &Project, name: &str) -> std::path::PathBuf {
    let to = kiln.scratch().join(name);
    let output = format!("type=local,dest={}", to.display());
    let _built = kiln.build(["--output".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    to.join("app")
}

#[test]
fn an_edit_of_what_an_install_never_reads_runs_nothing_but_the_copy() {
    let (kiln, project) = (Kiln::new(), project());
    assert_eq!(ran(&kiln.build([project.path()]).ok()), ["WORKDIR", "COPY", "RUN"]);
    let edits: [(&str, &dyn Fn()); 6] = [
        ("content", &|| project.write("src/index.js", "two\n")),
        ("mode", &|| fs::set_permissions(project.at("src/b.js"), fs::Permissions::from_mode(0o755)).unwrap()),
        ("added below", &|| project.write("src/new.js", "new\n")),
        ("renamed", &|| fs::rename(project.at("src/new.js"), project.at("src/newer.js")).unwrap()),
        ("link", &|| {
            fs::remove_file(project.at("src/main")).unwrap();
            symlink("newer.js", project.at("src/main")).unwrap();
        }),
        ("deleted", &|| fs::remove_file(project.at("src/b.js")).unwrap()),
    ];
    for (what, edit) in edits {
        edit();
        let build = kiln.build([project.path()]).ok();
        assert_eq!(ran(&build), ["COPY"], "{what}: {:#?}", build.verdicts());
        let again = kiln.build([project.path()]).ok();
        assert_eq!(ran(&again), Vec::<String>::new(), "{what}");
        assert_eq!(again.image(), build.image(), "{what}");
    }
    let app = exported(&kiln, &project, "edited");
    assert_eq!(fs::read_to_string(app.join("src/index.js")).unwrap(), "two\n");
    assert_eq!(fs::read_link(app.join("src/main")).unwrap().to_str(), Some("newer.js"));
    assert_eq!(fs::read_to_string(app.join("installed")).unwrap(), "{}\n");
}

#[test]
fn an_edit_of_what_it_reads_lists_or_misses_runs_it() {
    let (kiln, project) = (Kiln::new(), project());
    let _first = kiln.build([project.path()]).ok();
    let edits: [(&str, &dyn Fn()); 4] = [
        ("content", &|| project.write("package.json", "{ }\n")),
        ("mode", &|| fs::set_permissions(project.at("package.json"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("listing", &|| project.write("yarn.lock", "lock\n")),
        ("deleted", &|| fs::remove_file(project.at("yarn.lock")).unwrap()),
    ];
    for (index, (what, edit)) in edits.into_iter().enumerate() {
        edit();
        let build = kiln.build([project.path()]).ok();
        // What was there before is known still.
        let expected: &[&str] = if what == "deleted" { &[] } else { &["COPY", "RUN"] };
        assert_eq!(ran(&build), expected, "{index} {what}: {:#?}", build.verdicts());
    }
}

#[test]
fn without_tracing_a_run_depends_on_all_that_is_below_it() {
    let (kiln, project) = (Kiln::new(), project());
    let build = |flag: &str| kiln.build([flag.as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(ran(&build("--trace=off")), ["WORKDIR", "COPY", "RUN"]);
    project.write("src/index.js", "two\n");
    assert_eq!(ran(&build("--trace=auto")), ["COPY", "RUN"], "nothing was watched the first time");
    project.write("src/index.js", "three\n");
    assert_eq!(ran(&build("--trace=off")), ["COPY", "RUN"]);
    project.write("src/index.js", "four\n");
    assert_eq!(ran(&build("--trace=auto")), ["COPY"]);
}

#[test]
fn a_step_that_talked_to_others_is_skipped_only_where_that_is_asked_for() {
    let (kiln, project) = (Kiln::new(), project());
    if kiln_tests::Busybox::import(&kiln).is_none() {
        return;
    }
    project.write(
        "Dockerfile",
        "FROM busybox\nWORKDIR /app\nCOPY . .\nRUN cat package.json; nslookup example.invalid 127.0.0.1 || true\n",
    );
    let build = |flag: &str| kiln.build([flag.as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(ran(&build("--trace=auto")), ["WORKDIR", "COPY", "RUN"]);
    project.write("src/index.js", "two\n");
    let plan = kiln.run(["plan".as_ref(), project.path().as_os_str()]).ok().stdout;
    assert!(plan.contains("read nothing that changed, but used the network: --trace=all"), "{plan}");
    assert!(plan.contains("would save"), "{plan}");
    let again = build("--trace=auto");
    assert_eq!(ran(&again), ["COPY", "RUN"]);
    let said = again.verdicts().join("\n");
    assert!(said.contains("← [3/4] COPY . ., read nothing that changed, but used the network"), "{said}");
    let explained = kiln.run(["explain"]).ok().stdout;
    assert!(explained.contains("used the network: --trace=all, or `# kiln: --key=traced` above it"), "{explained}");
    let step = kiln.run(["explain", "4"]).ok().stdout;
    assert!(step.contains("  it read nothing that changed, but used the network: --trace=all"), "{step}");
    let json = kiln.run(["explain", "--json"]).ok().stdout;
    assert!(json.contains(r#""because": "networked""#) || json.contains(r#""because":"networked""#), "{json}");
    project.write("src/index.js", "three\n");
    assert_eq!(ran(&build("--trace=all")), ["COPY"]);
    project.write("package.json", "{ }\n");
    let honest = build("--trace=auto").verdicts().join("\n");
    assert!(!honest.contains("read nothing that changed"), "it read what changed: {honest}");
}

#[test]
fn what_was_seen_and_is_not_all_is_found_by_verify_and_put_away() {
    // The time of a directory is no dependency, on purpose: so it makes a lie.
    let kiln = || Kiln::new().env("SOURCE_DATE_EPOCH", "1");
    let (other, kiln) = (kiln(), kiln());
    let project = Project::new(&[(".dockerignore", "Dockerfile\n"), ("w/d/x", "1\n")]);
    project.write("Dockerfile", "FROM kiln/host\nCOPY w /w\nRUN stat -c %Y /w/d > /out\nRUN cat /out > /out2\n");
    let touch = |time: &str| {
        let touched = std::process::Command::new("touch").arg("-d").arg(time).arg(project.at("w/d")).status().unwrap();
        assert!(touched.success());
    };
    touch("@1000000000");
    assert_eq!(ran(&kiln.build([project.path()]).ok()), ["COPY", "RUN", "RUN"]);
    let honest = kiln.build(["--verify".as_ref(), project.path().as_os_str()]);
    assert_eq!(honest.ran.code, Some(0), "{}", honest.ran.stderr);
    project.write("w/other", "2\n");
    touch("@1100000000");
    let narrowed = kiln.build([project.path()]).ok();
    assert_eq!(ran(&narrowed), ["COPY"], "{:#?}", narrowed.verdicts());
    let verified = kiln.build(["--verify".as_ref(), project.path().as_os_str()]);
    assert_eq!(verified.ran.code, Some(4), "{:#?}", verified.verdicts());
    let said = format!("{}{}", verified.ran.stdout, verified.ran.stderr);
    assert!(said.contains("what was seen is no longer used"), "{said}");
    let after = kiln.build([project.path()]).ok();
    let clean = other.build([project.path()]).ok();
    assert_eq!(after.image(), clean.image(), "what verify made is what counts");
    project.write("w/other", "3\n");
    touch("@1200000000");
    let next = kiln.build([project.path()]).ok();
    assert_eq!(ran(&next), ["COPY", "RUN", "RUN"], "{:#?}", next.verdicts());
}

#[test]
fn a_miss_names_what_the_step_read_that_is_not_what_it_was() {
    let (kiln, project) = (Kiln::new(), project());
    let _first = kiln.build([project.path()]).ok();
    let reason = |edit: &dyn Fn()| {
        edit();
        let verdicts = kiln.build([project.path()]).ok().verdicts();
        let line = verdicts.iter().find(|line| line.starts_with("RUN")).unwrap();
        line.rsplit_once(" = ").unwrap().1.to_owned()
    };
    let miss = |what: &str| format!("miss (parent changed ← [3/4] COPY . .: {what})");
    assert_eq!(reason(&|| project.write("package.json", "{1}\n")), miss("app/package.json changed"));
    assert_eq!(reason(&|| project.write("yarn.lock", "1\n")), miss("app/yarn.lock added"));
    let mode = || fs::set_permissions(project.at("package.json"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(reason(&mode), miss("mode of app/package.json changed from 644 to 600 (another umask?)"));
    assert_eq!(reason(&|| fs::remove_file(project.at("yarn.lock")).unwrap()), miss("app/yarn.lock removed"));
    let explained = kiln.run(["explain", "4"]).ok().stdout;
    assert!(explained.contains("what it read below: −1") && explained.contains("app/yarn.lock"), "{explained}");
    assert!(explained.contains("what it read below ← [3/4] COPY . ."), "{explained}");
}
