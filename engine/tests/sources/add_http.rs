//! ADD of URLs, against a server on loopback.

use crate::support::{Answer, Asked, Server, World, tar};
use kiln_engine::api::{Secret, SecretSource};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const DATE_SECONDS: i64 = 1_445_412_480;

/// A server whose one file has an ETag, and changes when it is told.
fn tagged(version: &Arc<AtomicUsize>) -> Server {
    let version = version.clone();
    Server::new(move |asked: &Asked| -> Answer {
        let version = version.load(Ordering::SeqCst);
        let tag = format!("\"v{version}\"");
        let headers = vec![("etag", tag.clone()), ("last-modified", DATE.to_owned())];
        match asked.headers.get("if-none-match") {
            Some(known) if *known == tag => (304, headers, Vec::new()),
            _ => (200, headers, format!("version {}\n", version / 2).into_bytes()),
        }
    })
}

#[test]
fn a_file_has_the_name_mode_and_time_that_docker_gives_it() {
    let server = tagged(&Arc::default());
    let world = World::new();
    let url = server.url("/dir/file.txt?x=1");
    world.built(&format!("FROM scratch\nADD {url} /d/\nADD {url} /renamed\nADD --chmod=755 {url} /e/\n"));
    let files = world.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["d/", "d/file.txt", "e/", "e/file.txt", "renamed"]);
    assert_eq!(files["renamed"], "version 0\n");
    let plain = fs::metadata(world.out("d/file.txt")).unwrap();
    assert_eq!((plain.mode() & 0o7777, plain.mtime()), (0o600, DATE_SECONDS));
    assert_eq!(fs::metadata(world.out("e/file.txt")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_unchanged_url_costs_one_conditional_request_and_its_content_decides_the_rest() {
    let version = Arc::new(AtomicUsize::new(0));
    let server = tagged(&version);
    let world = World::new();
    let dockerfile = format!("FROM scratch\nADD {} /f\n", server.url("/f"));
    assert_eq!(world.built(&dockerfile).ran(), 2);
    assert_eq!(server.asked().len(), 1);

    let again = world.built(&dockerfile);
    assert_eq!(again.ran(), 0, "{:?}", again.verdicts());
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["if-none-match"], "\"v0\"");
    assert_eq!(asked[0].headers["if-modified-since"], DATE);

    // Another tag and the same bytes: it is fetched, and what stands on it hits.
    version.store(1, Ordering::SeqCst);
    let same_bytes = world.built(&dockerfile);
    assert_eq!(same_bytes.ran(), 1, "{:?}", same_bytes.verdicts());

    version.store(2, Ordering::SeqCst);
    let changed = world.built(&dockerfile);
    assert_eq!(changed.ran(), 2, "{:?}", changed.verdicts());
    assert_eq!(world.files()["f"], "version 1\n");
}

#[test]
fn a_checksum_is_verified_and_saves_the_request() {
    let server = tagged(&Arc::default());
    let world = World::new();
    let url = server.url("/f");
    let right = "sha256:d63d2c4cd57cf5dbad9bd5cf7a3dcac1ae0ad3bfdf7e4a9dcb5ae61d51a4f1a8";
    world.write("Dockerfile", format!("FROM scratch\nADD --checksum={right} {url} /f\n"));
    let error = world.build(|_| ()).error();
    let actual = error.rsplit("--checksum=").next().unwrap().to_owned();
    assert!(error.contains(&format!("{url} has the checksum {actual}, not {right}")), "{error}");
    server.asked();
    world.write("Dockerfile", format!("FROM scratch\nARG SUM={actual}\nADD --checksum=$SUM {url} /f\n"));
    world.build(|_| ()).ok();
    assert_eq!(server.asked().len(), 1);
    world.build(|_| ()).ok();
    assert_eq!(server.asked().len(), 0, "a content that is named is not asked for again");
}

#[test]
fn an_archive_is_unpacked_only_where_it_is_asked_for() {
    let body = tar(&[("a/x", "1"), ("y", "2")]);
    let server = Server::new(move |_| (200, Vec::new(), body.clone()));
    let world = World::new();
    let url = server.url("/a.tar");
    world.built(&format!("FROM scratch\nADD {url} /plain/\nADD --unpack=true {url} /unpacked\n"));
    let files = world.files();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["plain/", "plain/a.tar", "unpacked/", "unpacked/a/", "unpacked/a/x", "unpacked/y"]);
}

#[test]
fn urls_files_and_heredocs_stand_in_one_add() {
    let server = Server::new(|asked| (200, Vec::new(), asked.line.clone().into_bytes()));
    let world = World::new();
    world.write("local.txt", "local");
    world.write("archive.tar", tar(&[("from-archive", "x")]));
    world.built(&format!(
        "FROM scratch\nADD local.txt {} archive.tar {} <<here /d/\ntext\nhere\n",
        server.url("/one"),
        server.url("/we[i]rd*")
    ));
    let files = world.files();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["d/", "d/from-archive", "d/here", "d/local.txt", "d/one", "d/we[i]rd*"]);
    assert_eq!(files["d/one"], "GET /one HTTP/1.1");
}

#[test]
fn a_token_is_sent_to_its_host_only_and_is_nowhere_afterwards() {
    const TOKEN: &str = "correct-horse-battery-staple";
    let other = Server::new(|asked| match asked.headers.get("authorization") {
        None => (200, Vec::new(), b"content".to_vec()),
        Some(_) => (500, Vec::new(), Vec::new()),
    });
    let elsewhere = other.url("/f");
    let server = Server::new(move |asked| match asked.headers.get("authorization").map(String::as_str) {
        Some("Bearer correct-horse-battery-staple") => (302, vec![("location", elsewhere.clone())], Vec::new()),
        _ => (401, Vec::new(), Vec::new()),
    });
    let world = World::new();
    world.write("Dockerfile", format!("FROM scratch\nADD {} /f\n", server.url("/f")));
    let denied = world.build(|_| ()).error();
    assert!(denied.contains("the server answered 401") && denied.contains("HTTP_AUTH_TOKEN_"), "{denied}");
    fs::write(world.path("token"), format!("{TOKEN}\n")).unwrap();
    let id = format!("HTTP_AUTH_TOKEN_{}", server.address);
    let source = SecretSource::File(world.path("token"));
    let built = world.build(|request| request.secrets = vec![Secret { id, source }]);
    built.ok();
    assert_eq!(world.files()["f"], "content");
    fs::remove_file(world.path("token")).unwrap();
    assert!(!format!("{:?}", built.events).contains(TOKEN));
    let grep = std::process::Command::new("grep").args(["-rq", TOKEN]).arg(world.path("")).status().unwrap();
    assert_eq!(grep.code(), Some(1), "the token is in the store or the result");
}

#[test]
fn what_cannot_be_fetched_is_told_with_its_address_and_without_its_password() {
    let server = Server::new(|asked| match asked.line.as_str() {
        "GET /gone HTTP/1.1" => (404, Vec::new(), Vec::new()),
        _ => (503, Vec::new(), Vec::new()),
    });
    let world = World::new();
    let with_password = format!("http://user:hunter2@{}/gone", server.address);
    world.write("Dockerfile", format!("FROM scratch\nADD {with_password} /f\n"));
    let built = world.build(|_| ());
    let said = format!("{}\n{:?}", built.error(), built.events);
    assert!(
        said.contains(&format!("failed to fetch http://xxxxx:xxxxx@{}/gone: the server answered 404", server.address)),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    server.asked();
    world.write("Dockerfile", format!("FROM scratch\nADD {} /f\n", server.url("/busy")));
    assert!(world.build(|_| ()).error().contains("answered 503"));
    assert_eq!(server.asked().len(), 3, "a server that is busy is asked again");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.write("Dockerfile", format!("FROM scratch\nADD http://127.0.0.1:{port}/f /f\n"));
    assert!(world.build(|_| ()).error().contains("connection refused"));
}

#[test]
fn what_an_add_cannot_mean_is_an_error_before_anything_is_fetched() {
    let world = World::new();
    let all = [
        "COPY http://host/file /f",
        "COPY https://host/repo.git /f",
        "COPY git@host:repo /f",
        "ADD --checksum=sha256:12 http://host/f /f",
        "ADD --checksum=md5:12 http://host/f /f",
        "ADD --checksum=sha256:12 file /f",
        "ADD --checksum=sha256:12 http://host/f http://host/g /f/",
        "ADD --checksum=sha256:12 https://host/repo.git /f",
        "ADD https://host/repo.git?brunch=x /f",
        "ADD https://host/repo.git#-x /f",
        "ADD --keep-git-dir=true https://host/repo.git?keep-git-dir=false /f",
        "RUN --device=vendor.com/class x",
        "RUN --security=insecure x",
        "RUN --network=host x",
    ];
    let mut shown = String::new();
    for line in all {
        world.write("Dockerfile", format!("FROM scratch\n{line}\n"));
        let error = world.build(|_| ()).error();
        shown += &format!("{line}\n{}\n", error.lines().skip(1).collect::<Vec<_>>().join("\n"));
    }
    insta::assert_snapshot!(shown);
}
