//! Contexts that are no directory, and named contexts.

use crate::repository::Daemon;
use crate::support::{Server, World, tar};
use kiln_engine::api::{Context, Destination, NamedContext, Output, Request};
use std::fs;
use std::io::Write as _;

fn from(context: &str) -> impl FnOnce(&mut Request) + '_ {
    move |request| request.context = Context::Remote(context.to_owned())
}

fn names(world: &World) -> Vec<String> {
    world.files().into_keys().collect()
}

#[test]
fn a_repository_is_a_context_whose_ignore_file_does_not_count() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    repository.commit(&[
        ("sub/Dockerfile", "FROM scratch\nCOPY . /all/\n"),
        ("sub/.dockerignore", "file\n"),
        ("sub/file", "x"),
        ("outside", "y"),
    ]);
    let world = World::new();
    let url = format!("{}#main:sub", daemon.url("app"));
    let built = world.build(from(&url));
    built.ok();
    assert_eq!(names(&world), ["all/", "all/.dockerignore", "all/Dockerfile", "all/file"]);
    let again = world.build(from(&url));
    assert_eq!(again.ran(), 0, "{:?}", again.verdicts());

    let missing = world.build(|request| {
        from(&daemon.url("app"))(request);
        request.dockerfile = Some("none/Dockerfile".into());
    });
    assert!(missing.error().contains("failed to read the Dockerfile none/Dockerfile in git://"), "{}", missing.error());
    let kept = world.build(|request| {
        from(&daemon.url("app"))(request);
        request.dockerfile = Some("sub/Dockerfile".into());
        request.build_args = vec![("BUILDKIT_CONTEXT_KEEP_GIT_DIR".into(), "1".into())];
    });
    kept.ok();
    assert!(world.out("all/.git/HEAD").exists());
}

#[test]
fn a_url_is_a_context_if_it_is_an_archive_and_a_dockerfile_if_not() {
    let archive = tar(&[("Dockerfile", "FROM scratch\nADD . /a/\n"), ("x", "1"), (".dockerignore", "x")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    let gzip = gzip.finish().unwrap();
    let server = Server::new(move |asked| match asked.line.split(' ').nth(1).unwrap() {
        "/plain" => (200, Vec::new(), archive.clone()),
        "/packed" => (200, vec![("etag", "\"1\"".to_owned())], gzip.clone()),
        "/Dockerfile" => (200, Vec::new(), b"FROM scratch\nCOPY context /itself\n".to_vec()),
        _ => (404, Vec::new(), Vec::new()),
    });
    let world = World::new();
    for path in ["/plain", "/packed"] {
        world.build(from(&server.url(path))).ok();
        assert_eq!(names(&world), ["a/", "a/.dockerignore", "a/Dockerfile", "a/x"], "{path}");
    }
    world.build(from(&server.url("/Dockerfile"))).ok();
    assert_eq!(names(&world), ["itself"]);
    let url = server.url("/Dockerfile?token=1");
    let gone = world.build(from(&url)).error();
    assert!(
        gone.starts_with(&format!("reading the context {url} failed: failed to fetch {url}: the server answered 404")),
        "{gone}"
    );
    // A Dockerfile from elsewhere for a directory of here.
    world.write("context", "mine");
    let built = world.build(|request| request.dockerfile = Some(server.url("/Dockerfile").into()));
    built.ok();
    assert_eq!(world.files()["itself"], "mine");
}

#[test]
fn a_hostile_archive_leads_nowhere() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "Dockerfile", "/etc/hostname").unwrap();
    let archive = builder.into_inner().unwrap();
    let server = Server::new(move |_| (200, Vec::new(), archive.clone()));
    let world = World::new();
    // The link leads to the archive's own root, where there is no such file.
    let error = world.build(from(&server.url("/x.tar"))).error();
    assert!(error.contains("failed to read the Dockerfile Dockerfile in http://"), "{error}");
}

#[test]
fn named_contexts_are_read_by_copy_and_mounts_with_ignore_files_of_their_own() {
    let world = World::new();
    let library = world.path("library");
    fs::create_dir_all(library.join("deep")).unwrap();
    fs::write(library.join("deep/code"), "1").unwrap();
    fs::write(library.join("notes"), "2").unwrap();
    fs::write(library.join(".dockerignore"), "notes\n").unwrap();
    world.write("Dockerfile", "FROM scratch\nCOPY --from=lib . /l/\nCOPY Dockerfile /\n");
    let contexts = vec![("lib".to_owned(), NamedContext::Directory(library.clone()))];
    let build = || world.build(|request| request.contexts = contexts.clone());
    build().ok();
    assert_eq!(names(&world), ["Dockerfile", "l/", "l/.dockerignore", "l/deep/", "l/deep/code"]);
    fs::write(library.join("notes"), "changed").unwrap();
    assert_eq!(build().ran(), 0, "an ignored file is no reason");
    fs::write(library.join("deep/code"), "changed").unwrap();
    assert_eq!(build().ran(), 1);
    world.write("Dockerfile", "FROM scratch\nCOPY --from=lib notes /\n");
    let error = build().error();
    assert!(error.contains("notes is not in context \"lib\""), "{error}");
    assert!(error.contains(".dockerignore line 1 excludes it"), "{error}");
}

#[test]
fn a_named_context_stands_for_an_image_or_a_whole_stage_of_its_name() {
    let world = World::new();
    let files = world.path("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("from-context"), "1").unwrap();
    let with = |name: &str| vec![(name.to_owned(), NamedContext::Directory(files.clone()))];
    let build = |name: &str| world.build(|request| request.contexts = with(name));
    world.write("Dockerfile", "FROM alpine:latest\nCOPY Dockerfile /\n");
    build("docker.io/library/alpine").ok();
    assert_eq!(names(&world), ["Dockerfile", "from-context"]);
    world.write(
        "Dockerfile",
        "FROM nowhere.example/x AS base\nRUN false\nFROM base\nCOPY --from=base from-context /copied\n",
    );
    build("base").ok();
    assert_eq!(names(&world), ["copied", "from-context"]);
    // What is called so already keeps its meaning.
    world.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    build("scratch").ok();
    assert_eq!(names(&world), ["Dockerfile"]);
}

#[test]
fn a_context_may_be_a_stage_a_repository_or_a_url() {
    let server = Server::new(|_| (200, Vec::new(), tar(&[("from-url", "1")])));
    let world = World::new();
    world.write(
        "Dockerfile",
        "FROM scratch AS real\nCOPY Dockerfile /from-stage\nFROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n",
    );
    let contexts = vec![
        ("a".to_owned(), NamedContext::Remote(server.url("/x.tar"))),
        ("b".to_owned(), NamedContext::Stage("real".to_owned())),
    ];
    world.build(|request| request.contexts = contexts.clone()).ok();
    assert_eq!(names(&world), ["from-stage", "from-url"]);
    let wrong = vec![("b".to_owned(), NamedContext::Stage("reel".to_owned())), contexts[0].clone()];
    let error = world.build(|request| request.contexts = wrong).error();
    assert!(error.contains("names no stage (did you mean target:real?)"), "{error}");
    world.write("Dockerfile", "FROM scratch AS one\nCOPY --from=x / /\nFROM one AS two\nCOPY Dockerfile /\n");
    let circle = vec![("x".to_owned(), NamedContext::Stage("two".to_owned()))];
    let error = world.build(|request| request.contexts = circle).error();
    assert!(error.contains("stands on itself"), "{error}");
}

#[test]
fn an_image_of_an_oci_layout_is_a_base_and_a_damaged_one_is_not() {
    let world = World::new();
    let layout = world.path("layout");
    world.write("Dockerfile", "FROM scratch\nENV FROM_LAYOUT=yes\nCOPY Dockerfile /base\n");
    let compression = kiln_engine::api::Compression::default();
    let output = Output::Oci { dest: Destination::Path(layout.clone()), tar: false, compression };
    world.build(|request| request.outputs = vec![output]).ok();
    world.write("Dockerfile", "FROM base\nCOPY Dockerfile /$FROM_LAYOUT\n");
    let other = World::new();
    other.write("Dockerfile", "FROM base\nCOPY Dockerfile /$FROM_LAYOUT\n");
    let place = NamedContext::Image(format!("oci-layout://{}", layout.display()));
    let build = |world: &World| world.build(|request| request.contexts = vec![("base".to_owned(), place.clone())]);
    build(&other).ok();
    assert_eq!(names(&other), ["base", "yes"]);
    assert_eq!(build(&other).ran(), 0);
    let wrong = NamedContext::Image(format!("oci-layout://{}:v9", layout.display()));
    let error = other.build(|request| request.contexts = vec![("base".to_owned(), wrong)]).error();
    assert!(error.contains("has no image v9; it has sha256:"), "{error}");

    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let error = build(&World::with("FROM base\n")).error();
    assert!(error.contains("has not the digest of its name"), "{error}");
}
