//! The founding example: a Node application, from a real registry, with real packages.
//!
//! `examples/node-app/Dockerfile.alpine` is it as it was first written; no mirror of Alpine can be counted
//! on, so what is built is the same application on Debian.

use crate::registry_server::{Registry, available};
use kiln_engine::digest::ImageKey;
use kiln_engine::image::config::ImageConfig;
use kiln_engine::plan::{Images, KnownImage, Options, Planned, Wanted, plan};
use kiln_tests::{Kiln, Project, has_tool, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/node-app").join(file)
}

#[test]
fn the_founding_example_is_six_steps_as_it_stands() {
    let text = std::fs::read_to_string(example("Dockerfile.alpine")).unwrap();
    let parsed = kiln_dsl::parser::parse(&text);
    assert_eq!(parsed.diagnostics, []);
    let platform = kiln_dsl::platform::Platform::host();
    let options = Options::new(platform.clone());
    let wanted = [Wanted { document: &parsed.document, options: &options, stages: &[None] }];
    let mut images = Images::new();
    let Ok(Planned::Needs(needs)) = plan(&wanted, &images) else { panic!("needs its base") };
    assert_eq!(needs[0].name, "node:12-alpine");
    let config = ImageConfig::scratch(&platform.arch, &platform.os, "");
    let known = KnownImage { key: ImageKey::from_bytes([1; 32]), config };
    images.insert((needs[0].name.clone(), needs[0].platform.clone()), known);
    let Ok(Planned::Plan(plan, _)) = plan(&wanted, &images) else { panic!("a plan") };
    let shown: Vec<&str> = plan.shown.iter().map(|step| step.name.as_str()).collect();
    let expected = [
        "[1/6] FROM node:12-alpine",
        "[2/6] RUN apk add --no-cache python2 g++ make",
        "[3/6] WORKDIR /app",
        "[4/6] COPY . .",
        "[5/6] RUN yarn install --production",
        "[6/6] CMD [\"node\", \"src/index.js\"]",
    ];
    assert_eq!(shown, expected);
}

/// Debian's root file system as a tar; `None` where its packages cannot be had.
fn debian(scratch: &Path) -> Option<PathBuf> {
    let debootstrap = has_tool("debootstrap")?;
    let root = scratch.join("debian");
    let mut command = Command::new(debootstrap);
    command.args(["--variant=minbase", "bookworm"]).arg(&root);
    let is_made = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !is_made {
        skip("root, and a mirror of Debian");
        return None;
    }
    let tar = scratch.join("debian.tar");
    let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap();
    assert!(status.success());
    std::fs::remove_dir_all(root).unwrap();
    Some(tar)
}

/// Fills the registry with `debian:bookworm`. The base trusts whom this machine trusts, for the sake of
/// machines whose package registries stand behind an authority of their own.
fn fill(registry: &Registry, pusher: &Kiln) -> Option<()> {
    let tar = debian(pusher.scratch())?;
    let _ran = pusher.run(["import".as_ref(), "debian:root".as_ref(), tar.as_os_str()]).ok();
    let mut text = "FROM debian:root\n".to_owned();
    let project = Project::new(&[]);
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if bundle.is_file() {
        std::fs::copy(bundle, project.at("authorities")).unwrap();
        text += "COPY authorities /etc/authorities\nENV NODE_EXTRA_CA_CERTS=/etc/authorities\n";
    }
    project.write("Dockerfile", &text);
    let layout = pusher.scratch().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let _build = pusher.build(["-o".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    registry.push(&layout, "library/debian", "bookworm");
    Some(())
}

/// A copy of the example that a test may edit.
fn copy_of_example() -> Project {
    let project = Project::new(&[]);
    for file in ["Dockerfile", ".dockerignore", "package.json", "src/index.js", "src/answer.js"] {
        project.write(file, &std::fs::read_to_string(example(file)).unwrap());
    }
    project
}

#[test]
fn the_application_on_debian_is_pulled_built_cached_and_runs_elsewhere() {
    if !available() || !rustix::process::geteuid().is_root() && skip("root") {
        return;
    }
    let (pusher, registry) = (Kiln::new(), Registry::start(None));
    if fill(&registry, &pusher).is_none() {
        return;
    }
    let kiln = Kiln::new().env("KILN_REGISTRY_MIRROR", format!("http://{}", registry.host()));
    let project = copy_of_example();
    let archive = kiln.scratch().join("app.tar");
    let layout = kiln.scratch().join("app");
    let outputs =
        [format!("type=docker,dest={}", archive.display()), format!("type=oci,tar=false,dest={}", layout.display())];
    let args = ["-t", "node-app", "-o", &outputs[0], "-o", &outputs[1], &project.path().display().to_string()];
    let first = kiln.build(args).ok();
    assert_eq!(first.ran_steps().len(), 5, "{:#?}", first.verdicts());

    let again = kiln.build([project.path()]).ok();
    assert_eq!(again.ran_steps(), Vec::<String>::new(), "every step hits");

    project.write("src/index.js", "console.log('edited');\n");
    let edited = kiln.build([project.path()]).ok();
    let verdicts = edited.verdicts();
    assert!(verdicts[..3].iter().all(|line| line.contains(" = hit")), "{verdicts:#?}");
    assert!(verdicts[3].starts_with("COPY . . = miss (src/index.js changed"), "{verdicts:#?}");

    if let Some(skopeo) = has_tool("skopeo") {
        let inspected = Command::new(skopeo).arg("inspect").arg(format!("oci:{}", layout.display())).output().unwrap();
        assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    }
    runs_in_docker(&archive);
}

/// Loads the archive into Docker and compares what the application prints. The words of the command and the
/// directory that it sees come from the environment; without them nothing is run.
fn runs_in_docker(archive: &Path) {
    let (Ok(docker), Ok(shared)) = (std::env::var("DOCKER"), std::env::var("PEERS_DIR")) else { return };
    let prefix = std::env::var("DOCKER_PREFIX").unwrap_or_else(|_| shared.clone());
    let name = format!("kiln-node-app-{}.tar", std::process::id());
    let place = Path::new(&shared).join(&name);
    std::fs::copy(archive, &place).unwrap();
    let words: Vec<&str> = docker.split_whitespace().collect();
    let run = |args: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["load", "-i", &format!("{prefix}/{name}")]);
    std::fs::remove_file(&place).unwrap();
    assert_eq!(run(&["run", "--rm", "node-app"]), "up for 1 minute\n");
}
