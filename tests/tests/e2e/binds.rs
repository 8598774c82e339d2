//! Bind mounts as inputs: what of them runs a step, and what is said of it.

use kiln_tests::{Build, Kiln, Project};
use std::fs;

const FROM_CONTEXT: &str = "FROM kiln/host\nRUN --mount=type=bind,source=src,target=/m cat /m/package.json > /out\n";
const FROM_STAGE: &str = "FROM scratch AS files\nCOPY src /x\nFROM kiln/host\n\
                          RUN --mount=type=bind,from=files,source=/x,target=/m cat /m/package.json > /out\n";

fn project(dockerfile: &str) -> Project {
    Project::new(&[
        (".dockerignore", "Dockerfile\n"),
        ("Dockerfile", dockerfile),
        ("src/package.json", "{}\n"),
        ("src/README", "one\n"),
        ("other", "one\n"),
    ])
}

/// The verdict of the RUN.
fn verdict(build: &Build) -> String {
    let verdicts = build.verdicts();
    let line = verdicts.iter().rfind(|line| line.starts_with("RUN")).unwrap();
    line.rsplit_once(" = ").unwrap().1.to_owned()
}

fn built(kiln: &Kiln, project: &Project) -> String {
    verdict(&kiln.build([project.path()]).ok())
}

#[test]
fn a_miss_names_what_the_step_read_in_a_mount_and_nothing_beside_it() {
    for (dockerfile, step, said) in [
        (FROM_CONTEXT, "2", "miss (src/package.json changed)"),
        (FROM_STAGE, "4", "miss (parent changed ← [files 2/2] COPY src /x: x/package.json changed)"),
    ] {
        let (kiln, project) = (Kiln::new(), project(dockerfile));
        let _first = built(&kiln, &project);
        project.write("src/README", "two\n");
        assert_eq!(built(&kiln, &project), "hit (traced)");
        assert_eq!(built(&kiln, &project), "hit (local)", "what was found is known by its key");
        project.write("src/README", "three\n");
        project.write("src/added", "1\n");
        project.write("src/package.json", "{1}\n");
        assert_eq!(built(&kiln, &project), said);
        let explained = kiln.run(["explain", "--all", step]).ok().stdout;
        assert!(explained.contains("what it read in the mount /m: ~1"), "{explained}");
        assert!(!explained.contains("README"), "what it did not look at is no reason: {explained}");
    }
}

#[test]
fn a_change_below_is_not_blamed_on_a_mount_and_one_of_a_mount_not_on_what_is_below() {
    let dockerfile = "FROM kiln/host\nCOPY other /\n\
                      RUN --mount=type=bind,source=src,target=/m cat /m/package.json /other > /out\n";
    let (kiln, project) = (Kiln::new(), project(dockerfile));
    let _first = built(&kiln, &project);
    project.write("src/README", "two\n");
    project.write("other", "two\n");
    assert_eq!(built(&kiln, &project), "miss (parent changed ← [2/3] COPY other /: other changed)");
    project.write("Dockerfile", &dockerfile.replace("/m/package.json /other", "/m/package.json"));
    let _first = built(&kiln, &project);
    project.write("src/package.json", "{1}\n");
    project.write("other", "three\n");
    assert_eq!(built(&kiln, &project), "miss (src/package.json changed)");
    let explained = kiln.run(["explain", "3"]).ok().stdout;
    assert!(!explained.contains('←'), "{explained}");
}

#[test]
fn a_plan_knows_what_an_edit_of_a_mounted_file_costs() {
    for dockerfile in [FROM_CONTEXT, FROM_STAGE] {
        let (kiln, project) = (Kiln::new(), project(dockerfile));
        let _first = built(&kiln, &project);
        let planned = |file: &str| {
            let path = project.path().to_str().unwrap();
            kiln.run(["plan", path, "--changed", file]).ok().stdout
        };
        let (read, unread) = (planned("src/package.json"), planned("src/README"));
        let runs = |text: &str| text.lines().any(|line| line.contains("RUN --mount"));
        assert!(!runs(&unread) && unread.contains("would hit"), "{unread}");
        assert!(runs(&read) && read.contains("package.json"), "{read}");
    }
}

#[test]
fn without_tracing_and_for_a_step_that_reached_others_all_of_a_mount_counts() {
    let (kiln, project) = (Kiln::new(), project(FROM_CONTEXT));
    let with = |flag: &str| verdict(&kiln.build([flag.as_ref(), project.path().as_os_str()]).ok());
    let _first = with("--trace=auto");
    project.write("src/README", "two\n");
    assert_eq!(with("--trace=off"), "miss (src/README changed)");
    if kiln_tests::Busybox::import(&kiln).is_none() {
        return;
    }
    let networked = "FROM busybox\nRUN --mount=type=bind,source=src,target=/m \
                     cat /m/package.json; nslookup example.invalid 127.0.0.1 || true\n";
    project.write("Dockerfile", networked);
    let _first = with("--trace=auto");
    project.write("src/README", "three\n");
    let said = "miss (src/README changed, read nothing that changed, but used the network)";
    assert_eq!(with("--trace=auto"), said);
    project.write("src/README", "four\n");
    assert_eq!(with("--trace=all"), "hit (traced)");
    project.write("Dockerfile", &networked.replace("RUN ", "# kiln: --key=traced\nRUN "));
    let _first = with("--trace=auto");
    project.write("src/README", "five\n");
    assert_eq!(with("--trace=auto"), "hit (traced)");
    project.write("src/package.json", "{1}\n");
    assert_eq!(with("--trace=auto"), "miss (src/package.json changed)");
}

#[test]
fn the_content_of_a_seeded_cache_is_not_watched_and_so_all_of_its_seed_counts() {
    let (kiln, project) = (Kiln::new(), project(""));
    project.write(
        "Dockerfile",
        "FROM scratch AS seed\nCOPY src /s\nFROM kiln/host\nRUN --mount=type=cache,target=/c,from=seed,source=/s true\n",
    );
    let _first = built(&kiln, &project);
    project.write("src/README", "two\n");
    assert!(built(&kiln, &project).starts_with("miss"));
}

#[test]
fn what_a_step_reads_through_a_mount_must_be_in_its_stated_key() {
    let (kiln, project) = (Kiln::new(), project(""));
    let warned = |key: &str, mount: &str| {
        let dockerfile = format!(
            "# kiln: KEY k = {key}\nFROM scratch AS files\nCOPY src /x\nFROM kiln/host\n# kiln: --key=k\n\
             RUN --mount=type=bind,{mount},target=/m cat /m /m/package.json > /out || true\n"
        );
        project.write("Dockerfile", &dockerfile);
        let built = kiln.build(["--no-cache".as_ref(), project.path().as_os_str()]).ok();
        let said = built.events.iter().filter(|event| event["event"] == "warning");
        said.filter_map(|event| event["message"].as_str()).map(str::to_owned).collect::<Vec<_>>()
    };
    let other = "files(\"context:other\")";
    for mount in ["source=src", "from=files,source=/x"] {
        let said = warned(other, mount);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].ends_with("read /m/package.json, which its key does not cover"), "{said:?}");
        assert_eq!(warned("files(\"context:src/package.json\")", mount), Vec::<String>::new());
        // Under the usual environment everything that is mounted counts.
        assert_eq!(warned("default - parent", mount), Vec::<String>::new());
    }
    assert_eq!(warned("files(\"stage:files:/x/package.json\")", "from=files,source=/x"), Vec::<String>::new());
    for mount in ["source=src/package.json", "from=files,source=/x/package.json"] {
        let said = warned(other, mount);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].ends_with("read /m, which its key does not cover"), "{said:?}");
    }
}

#[test]
fn below_a_mounted_directory_of_the_host_everything_counts_and_nothing_beside_it() {
    let dockerfile = "FROM kiln/host AS files\nCOPY src /usr/local/kiln-binds\nFROM kiln/host\n\
                      RUN --mount=type=bind,from=files,source=/usr/local/kiln-binds,target=/m cat /m/package.json\n\
                      RUN --mount=type=bind,from=files,source=/usr/share,target=/m ls /m > /dev/null\n";
    let (kiln, project) = (Kiln::new(), project(dockerfile));
    let first = kiln.build([project.path()]).ok();
    assert_eq!(first.log(), "{}\n");
    project.write("src/README", "two\n");
    let verdicts = kiln.build([project.path()]).ok().verdicts();
    assert!(verdicts[3].contains(" = miss"), "{verdicts:#?}");
    assert!(verdicts[4].ends_with("hit (traced)"), "{verdicts:#?}");
}

#[test]
fn what_a_mount_shows_is_what_is_there_now_when_the_step_runs_again() {
    let (kiln, project) = (Kiln::new(), project(FROM_CONTEXT));
    let _first = built(&kiln, &project);
    project.write("src/README", "two\n");
    let verified = kiln.build(["--verify".as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(verdict(&verified), "hit (traced, verified)");
    fs::remove_file(project.at("src/package.json")).unwrap();
    let failed = kiln.build([project.path()]);
    assert_eq!(failed.ran.code, Some(1), "{}", failed.ran.stderr);
}
