//! Several platforms in one build: one graph, an index, and nothing of one platform taken for another's.

use kiln_tests::{Kiln, Project, Ran};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;

/// The platform of this machine, and one whose programs it does not run by itself.
fn platforms() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("linux/arm64", "linux/riscv64"),
        _ => ("linux/amd64", "linux/riscv64"),
    }
}

fn both() -> String {
    let (own, foreign) = platforms();
    format!("{own},{foreign}")
}

/// A step that no platform changes, one that each has its own, and files.
const TEXT: &str = "FROM --platform=$BUILDPLATFORM kiln/host AS tools\nRUN echo shared > /shared\n\
    ARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n\
    FROM scratch\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\nCOPY static /\nCOPY --from=tools /shared /arch /\n";

fn project() -> Project {
    Project::new(&[("Dockerfile", TEXT), ("static", "as it is")])
}

fn args(project: &Project, args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).chain([project.path().as_os_str().to_owned()]).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What was printed, with the names of this machine and of this run left out.
fn told(ran: &Ran, project: &Project) -> String {
    let (own, _) = platforms();
    let arch = own.trim_start_matches("linux/");
    let text = format!("{}{}", ran.stdout, ran.stderr).replace(project.path().to_str().unwrap(), "PROJECT");
    text.replace(own, "linux/OWN").replace(&format!("->{arch}"), "->OWN")
}

/// The names of the steps as they were announced.
fn names(build: &kiln_tests::Build) -> Vec<String> {
    let (own, _) = platforms();
    let steps = build.events[0]["steps"].as_array().unwrap();
    steps.iter().map(|step| step["name"].as_str().unwrap().replace(own, "linux/OWN")).collect()
}

#[test]
fn what_no_platform_changes_runs_once_and_what_one_changes_once_for_each() {
    let (kiln, project) = (Kiln::new(), project());
    let build = kiln.build(args(&project, &["--platform", &both()])).ok();
    assert_eq!(
        names(&build),
        [
            "[linux/OWN tools 1/4] FROM --platform=linux/OWN kiln/host AS tools",
            "[linux/OWN tools 2/4] RUN echo shared > /shared",
            "[linux/OWN tools 3/4] ARG TARGETARCH",
            "[linux/OWN tools 4/4] RUN echo $TARGETARCH > /arch",
            "[linux/OWN stage-1 1/5] FROM scratch",
            "[linux/OWN stage-1 2/5] ARG TARGETPLATFORM",
            "[linux/OWN stage-1 3/5] LABEL platform=linux/OWN",
            "[linux/OWN stage-1 4/5] COPY static /",
            "[linux/OWN stage-1 5/5] COPY --from=tools /shared /arch /",
            "[linux/OWN->riscv64 tools 3/4] ARG TARGETARCH",
            "[linux/OWN->riscv64 tools 4/4] RUN echo $TARGETARCH > /arch",
            "[linux/riscv64 stage-1 1/5] FROM scratch",
            "[linux/riscv64 stage-1 2/5] ARG TARGETPLATFORM",
            "[linux/riscv64 stage-1 3/5] LABEL platform=linux/riscv64",
            "[linux/riscv64 stage-1 5/5] COPY --from=tools /shared /arch /",
        ]
    );
    let ran: Vec<String> = build.ran_steps().into_iter().filter(|line| !line.starts_with("FROM")).collect();
    assert_eq!(
        ran,
        [
            "RUN echo shared > /shared = miss (first time)",
            "RUN echo $TARGETARCH > /arch = miss (first time)",
            "COPY static / = miss (first time)",
            "COPY --from=tools /shared /arch / = miss (first time)",
            "RUN echo $TARGETARCH > /arch = miss (first time)",
            "COPY --from=tools /shared /arch / = miss (first time)",
        ]
    );
    let again = kiln.build(args(&project, &["--platform", &both()])).ok();
    assert!(again.ran_steps().is_empty(), "{:#?}", again.verdicts());
    assert_eq!(again.image(), build.image());
}

#[test]
fn one_platform_after_several_and_several_after_one_find_each_others_results() {
    let (kiln, project) = (Kiln::new(), project());
    let (own, foreign) = platforms();
    let _one = kiln.build(args(&project, &["--platform", foreign])).ok();
    let both = kiln.build(args(&project, &["--platform", own, "--platform", foreign])).ok();
    let ran = both.ran_steps();
    assert_eq!(ran.len(), 2, "{ran:#?}");
    assert!(ran.iter().all(|line| !line.contains("shared > ")), "{ran:#?}");
    // No record of the foreign platform is taken for an earlier one of this machine's.
    assert!(ran[0].starts_with("RUN echo $TARGETARCH > /arch = miss (first time"), "{ran:#?}");
    let last = kiln.build(args(&project, &["--platform", foreign])).ok();
    assert!(last.ran_steps().is_empty(), "{:#?}", last.verdicts());
}

#[test]
fn a_change_is_explained_by_the_earlier_record_of_the_same_platform() {
    let (kiln, project) = (Kiln::new(), project());
    let platforms = both();
    let _first = kiln.build(args(&project, &["--platform", &platforms])).ok();
    project.write("Dockerfile", &TEXT.replace("RUN echo $TARGETARCH > /arch", "RUN echo for $TARGETARCH > /arch"));
    let second = kiln.build(args(&project, &["--platform", &platforms])).ok();
    let ran = second.ran_steps();
    assert_eq!(ran.len(), 4, "{ran:#?}");
    let explained = kiln.run(["explain"]).ok();
    let text = told(&explained, &project);
    for line in ["[linux/OWN tools 4/4]", "[linux/OWN->riscv64 tools 4/4]"] {
        assert!(text.contains(line), "{text}");
    }
    // Each is compared with its own: had they been mixed up, an argument's value would have changed.
    assert!(!text.contains("TARGETARCH: "), "{text}");
    let planned = kiln.run(args(&project, &["plan", "--platform", &platforms])).ok();
    assert!(planned.stdout.contains("none of 15 steps would run"), "{}", planned.stdout);
}

#[test]
fn a_layout_has_an_index_and_files_have_a_directory_for_each_platform() {
    let (kiln, project) = (Kiln::new(), project());
    let (own, foreign) = platforms();
    let at = |name: &str| kiln.scratch().join(name);
    let (oci, local, tar) = (at("layout"), at("local"), at("files.tar"));
    let outputs = [
        format!("type=oci,tar=false,dest={}", oci.display()),
        format!("type=local,dest={}", local.display()),
        format!("type=tar,dest={}", tar.display()),
    ];
    let (iidfile, metadata) = (at("iid"), at("metadata.json"));
    let mut all = vec!["--platform".to_owned(), both(), "-t".to_owned(), "app:1".to_owned()];
    all.extend(["--iidfile".to_owned(), iidfile.display().to_string()]);
    all.extend(["--metadata-file".to_owned(), metadata.display().to_string()]);
    all.extend(outputs.iter().flat_map(|output| ["-o".to_owned(), output.clone()]));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let _build = kiln.build(args(&project, &all)).ok();

    let top = json(&oci.join("index.json"));
    assert_eq!(top["manifests"].as_array().unwrap().len(), 1);
    let named = &top["manifests"][0];
    assert_eq!(named["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "1");
    let digest = named["digest"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(&iidfile).unwrap(), digest);
    assert_eq!(json(&metadata)["containerimage.digest"], digest);
    let blob =
        |digest: &Value| json(&oci.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:")));
    let index = blob(&named["digest"]);
    for (manifest, platform) in index["manifests"].as_array().unwrap().iter().zip([own, foreign]) {
        let arch = platform.trim_start_matches("linux/");
        assert_eq!(manifest["platform"]["architecture"], arch);
        let config = blob(&blob(&manifest["digest"])["config"]["digest"]);
        assert_eq!(config["architecture"], arch);
        assert_eq!(config["config"]["Labels"]["platform"], platform);
        let dir = platform.replace('/', "_");
        assert_eq!(std::fs::read_to_string(local.join(&dir).join("arch")).unwrap(), format!("{arch}\n"));
        assert_eq!(std::fs::read_to_string(local.join(&dir).join("static")).unwrap(), "as it is");
        let listed =
            std::process::Command::new("tar").args(["-xOf"]).arg(&tar).arg(format!("{dir}/arch")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("{arch}\n"));
    }
}

#[test]
fn the_images_of_several_platforms_have_one_name_that_every_command_knows() {
    let (kiln, project) = (Kiln::new(), project());
    let (own, foreign) = platforms();
    let build = kiln.build(args(&project, &["--platform", &both(), "-t", "app"])).ok();
    let inspected: Value = serde_json::from_str(&kiln.run(["inspect", "app"]).ok().stdout).unwrap();
    assert_eq!(inspected[0]["key"], build.image());
    assert_eq!(inspected[0]["platforms"], serde_json::json!([own, foreign]));
    let images = inspected[0]["images"].as_array().unwrap();
    assert_eq!(images[1]["config"]["architecture"], foreign.trim_start_matches("linux/"));
    let listed: Value = serde_json::from_str(&kiln.run(["images", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed:#}");
    assert!(kiln.run(["images"]).ok().stdout.contains("2 platforms"));
    assert!(kiln.run(["history", "app"]).ok().stdout.contains(own));
    assert!(kiln.run(["history", images[1]["key"].as_str().unwrap()]).ok().stdout.contains(foreign));

    // A FROM takes the image for its platform.
    let next = Project::new(&[("Dockerfile", "FROM app\nCOPY more /\n"), ("more", "more")]);
    let on_top = kiln.build(args(&next, &["--platform", &both(), "-t", "next"])).ok();
    let local = kiln.scratch().join("next");
    let output = format!("type=local,dest={}", local.display());
    let _files = kiln.build(args(&next, &["--platform", foreign, "-o", &output])).ok();
    assert_eq!(std::fs::read_to_string(local.join("arch")).unwrap().trim(), foreign.trim_start_matches("linux/"));
    assert_ne!(on_top.image(), build.image());

    let _named = kiln.run(["tag", "app", "other:2"]).ok();
    let member = images[1]["key"].as_str().unwrap();
    let refused = kiln.run(["rmi", member]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("kiln rmi app:latest other:2 takes all of them away"), "{}", refused.stderr);
    assert_eq!(kiln.run(["rmi", "app"]).ok().stdout, "untagged docker.io/library/app:latest\n");
    let _pruned = kiln.run(["prune", "--all", "--force"]);
    let _sound = kiln.run(["fsck"]).ok();
    assert!(kiln.run(["inspect", "other:2"]).ok().stdout.contains(foreign), "what has a name stays whole");
    let gone = kiln.run(["rmi", "other:2", "next"]).ok().stdout;
    assert_eq!(gone.matches("forgot").count(), 2, "{gone}");
    assert!(!kiln.run(["images"]).ok().stdout.contains("docker.io"));
    let _sound = kiln.run(["fsck"]).ok();
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let project = project();
    let foreign_run = Project::new(&[("Dockerfile", "FROM scratch\nCOPY static /\nRUN [\"/x\"]\n"), ("static", "")]);
    let missing = Project::new(&[("Dockerfile", "FROM base\nCOPY static /\n"), ("static", "")]);
    let kiln = Kiln::new();
    let rootfs = kiln.scratch().join("empty.tar");
    std::fs::write(&rootfs, [0; 1024]).unwrap();
    let _base = kiln.run(["import".as_ref(), "base".as_ref(), rootfs.as_os_str()]).ok();
    let kiln = kiln.env("KILN_REGISTRY_MIRROR", "http://127.0.0.1:9");
    let mut shown = String::new();
    let cases: [(&Project, &[&str]); 6] = [
        (&project, &["-o", "type=docker,dest=out.tar"]),
        (&project, &["--build-arg", "BUILDKIT_MULTI_PLATFORM=0"]),
        (&project, &["--build-arg", "BUILDKIT_MULTI_PLATFORM=perhaps"]),
        (&project, &["--platform", "linux/amd64/v1/x"]),
        (&foreign_run, &[]),
        (&missing, &[]),
    ];
    for (project, more) in cases {
        let both = both();
        let mut all = vec!["build", "--progress", "plain", "--platform", both.as_str()];
        all.extend(more);
        let ran = kiln.run(args(project, &all));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(!ran.stderr.contains("running"), "{}", ran.stderr);
        // What the system says of a registry that is not there is the registry's tests' business.
        let text: Vec<String> =
            told(&ran, project).lines().filter(|line| !line.contains("docker.io")).map(str::to_owned).collect();
        shown.push_str(&format!("$ kiln build {}\n{}\n\n", more.join(" "), text.join("\n")));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn one_platform_looks_like_several_where_that_is_asked_for() {
    let (kiln, project) = (Kiln::new(), project());
    let (own, _) = platforms();
    let local = kiln.scratch().join("out");
    let output = format!("type=local,dest={}", local.display());
    let build = kiln.build(args(&project, &["--build-arg", "BUILDKIT_MULTI_PLATFORM=1", "-o", &output])).ok();
    assert!(local.join(own.replace('/', "_")).join("static").is_file());
    assert!(names(&build)[0].starts_with("[linux/OWN tools 1/4]"));
}
