//! Base images from a real registry, Debian's `docker-registry`, through the program itself.
//!
//! The image that is pulled was built by kiln and pushed with the registry's own HTTP interface.

use crate::registry_server::{Breaking, Registry, available};
use kiln_tests::kiln_program;
use std::path::Path;
use std::process::{Command, Output};

/// What one test works in: contexts, stores and outputs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("home")).unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Writes a context with these files.
    fn context(&self, name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        for (file, content) in files {
            std::fs::write(path.join(file), content).unwrap();
        }
        path
    }

    /// Runs kiln with a store of this name and nothing else of the environment.
    fn kiln(&self, store: &str, variables: &[(&str, &str)], args: &[&str]) -> Output {
        let mut command = Command::new(kiln_program().unwrap());
        command.env_clear().env("HOME", self.path("home")).env("KILN_STORE", self.path(store));
        command.envs(variables.iter().copied()).args(args).output().unwrap()
    }

    /// Builds and gives the files of the result.
    fn build(&self, store: &str, variables: &[(&str, &str)], context: &Path, more: &[&str]) -> Vec<(String, String)> {
        let out = self.path("out");
        let _ = std::fs::remove_dir_all(&out);
        let (context, dest) = (context.to_str().unwrap(), format!("type=local,dest={}", out.display()));
        let args = [&["build", "-o", &dest], more, &[context]].concat();
        let output = self.kiln(store, variables, &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut files: Vec<(String, String)> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let content = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
                (entry.file_name().into_string().unwrap(), content)
            })
            .collect();
        files.sort();
        files
    }

    /// Builds an image of one file `a` and pushes it; gives the manifest's digest.
    fn push(&self, registry: &Registry, repository: &str, tag: &str, content: &str) -> String {
        let context = self.context("pushed", &[("a", content), ("Dockerfile", "FROM scratch\nCOPY a /\n")]);
        let layout = self.path("layout");
        let _ = std::fs::remove_dir_all(&layout);
        let dest = format!("type=oci,tar=false,dest={}", layout.display());
        let output = self.kiln("pusher", &[], &["build", "-o", &dest, context.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        registry.push(&layout, repository, tag)
    }
}

fn files(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn one_name_keeps_its_images_for_several_platforms() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(None));
    let text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n";
    let context = place.context("pushed", &[("amd64", "for amd64"), ("arm64", "for arm64"), ("Dockerfile", text)]);
    let dest = format!("type=oci,tar=false,dest={}", place.path("layout").display());
    let platforms = "linux/amd64,linux/arm64";
    let output = place.kiln("pusher", &[], &["build", "--platform", platforms, "-o", &dest, context.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _digest = registry.push(&place.path("layout"), "library/both", "1");
    let next = place.context("next", &[("Dockerfile", &format!("FROM {}/library/both:1\n", registry.host()))]);
    let arch = |platform: &str, content: &str| {
        let found = place.build("puller", &[], &next, &["--platform", platform]);
        assert_eq!(found, files(&[("arch", content)]));
    };
    arch("linux/amd64", "for amd64");
    arch("linux/arm64", "for arm64");
    // Both stay under the name, whoever was pulled last.
    drop(registry);
    arch("linux/amd64", "for amd64");
    arch("linux/arm64", "for arm64");
}

#[test]
fn an_image_is_pulled_by_its_tag_and_by_its_digest() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(None));
    let digest = place.push(&registry, "team/app", "1", "pushed");
    for (store, reference) in [("one", "team/app:1".to_owned()), ("two", format!("team/app@{digest}"))] {
        let dockerfile = format!("FROM {}/{reference}\nCOPY b /\n", registry.host());
        let context = place.context(store, &[("b", "mine"), ("Dockerfile", &dockerfile)]);
        assert_eq!(place.build(store, &[], &context, &[]), files(&[("a", "pushed"), ("b", "mine")]));
    }
    let history = place.kiln("one", &[], &["history", &format!("{}/team/app:1", registry.host()), "--format", "json"]);
    assert!(String::from_utf8_lossy(&history.stdout).contains("COPY a / # buildkit"));
}

#[test]
fn a_mirror_serves_docker_hub_by_the_project_file_and_by_the_environment() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(None));
    place.push(&registry, "library/node", "12-alpine", "mirrored");
    let dockerfile = ("Dockerfile", "FROM node:12-alpine\n");
    let mirror = format!("http://{}", registry.host());
    let project = format!("(registry: (mirrors: {{\"docker.io\": [{mirror:?}]}}))");
    let context = place.context("project", &[dockerfile, ("kiln.ron", &project)]);
    assert_eq!(place.build("one", &[], &context, &[]), files(&[("a", "mirrored")]));
    let context = place.context("environment", &[dockerfile]);
    let variable = [("KILN_REGISTRY_MIRROR", mirror.as_str())];
    assert_eq!(place.build("two", &variable, &context, &[]), files(&[("a", "mirrored")]));
}

#[test]
fn a_name_that_the_store_knows_is_asked_for_again_only_with_pull() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(None));
    place.push(&registry, "app", "1", "old");
    let context = place.context("context", &[("Dockerfile", &format!("FROM {}/app:1\n", registry.host()))]);
    assert_eq!(place.build("store", &[], &context, &[]), files(&[("a", "old")]));
    place.push(&registry, "app", "1", "new");
    assert_eq!(place.build("store", &[], &context, &[]), files(&[("a", "old")]));
    assert_eq!(place.build("store", &[], &context, &["--pull"]), files(&[("a", "new")]));
    drop(registry);
    assert_eq!(place.build("store", &[], &context, &[]), files(&[("a", "new")]));
    let output = place.kiln("store", &[], &["build", "--pull", context.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.contains("the image in the store is used"), "{error}");
}

#[test]
fn wrong_credentials_are_said_to_be_wrong_and_right_ones_serve() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(Some(("ann", "hunter2"))));
    place.push(&registry, "app", "1", "private");
    let context = place.context("context", &[("Dockerfile", &format!("FROM {}/app:1\n", registry.host()))]);
    let login = |name: &str, encoded: &str| {
        let config = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{encoded}\"}}}}}}", registry.host());
        let dir = place.context(name, &[("config.json", &config)]);
        [("DOCKER_CONFIG".to_owned(), dir.to_str().unwrap().to_owned())]
    };
    let fails = |variables: &[(&str, &str)], words: &str| {
        let output = place.kiln("store", variables, &["build", context.to_str().unwrap()]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    };
    fails(&[], "or log in with `docker login");
    // ann:hunter3
    let wrong = login("wrong", "YW5uOmh1bnRlcjM=");
    fails(&[(&wrong[0].0, &wrong[0].1)], "the stored login is wrong");
    // ann:hunter2
    let right = login("right", "YW5uOmh1bnRlcjI=");
    assert_eq!(place.build("store", &[(&right[0].0, &right[0].1)], &context, &[]), files(&[("a", "private")]));
}

#[test]
fn a_registry_that_breaks_connections_is_resumed() {
    if !available() {
        return;
    }
    let (place, registry) = (Place::new(), Registry::start(None));
    // Text that does not compress away.
    let mut state = 1u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 33) as u8 % 90)
    })
    .take(2_000_000)
    .collect();
    place.push(&registry, "app", "1", &noise);
    let proxy = Breaking::start(&registry, 400_000);
    let context = place.context("context", &[("Dockerfile", &format!("FROM {}/app:1\n", proxy.host()))]);
    let built = place.build("store", &[], &context, &[]);
    assert_eq!(built.len(), 1);
    assert!(built[0].1 == noise);
    assert!(proxy.broken() >= 3, "{} connections were broken", proxy.broken());
    // Resumed, not begun again: little more went over the line than the layer.
    assert!(proxy.passed() < 2_600_000, "{} bytes", proxy.passed());
}
