//! ADD of git repositories, against a daemon on loopback.

use crate::repository::{Daemon, git};
use crate::support::{Server, World};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// When the commits of these tests were made.
const COMMIT_SECONDS: i64 = 1_577_934_245;

fn names(world: &World) -> Vec<String> {
    world.files().into_keys().collect()
}

#[test]
fn a_repository_is_checked_out_at_a_branch_tag_or_commit_and_only_its_subdirectory_if_asked() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    let first = repository.commit(&[("a", "1"), ("dir/b", "1")]);
    repository.git(&["tag", "-a", "v1", "-m", "one"]);
    repository.commit(&[("a", "2")]);
    repository.git(&["checkout", "-q", "-b", "other"]);
    repository.commit(&[("a", "3")]);
    let world = World::new();
    let url = daemon.url("app");
    world.built(&format!(
        "FROM scratch\nADD {url} /head\nADD {url}#v1 /tag\nADD {url}#other /branch\nADD {url}#{first}:dir /sub\n\
         ADD {url}?tag=v1&subdir=dir /query\n"
    ));
    let files = world.files();
    assert_eq!((files["head/a"].as_str(), files["tag/a"].as_str(), files["branch/a"].as_str()), ("2", "1", "3"));
    assert_eq!((files["sub/b"].as_str(), files["query/b"].as_str()), ("1", "1"));
    assert!(names(&world).iter().all(|name| !name.contains(".git")));
}

#[test]
fn a_repository_that_did_not_move_is_a_hit_and_one_named_by_its_commit_is_not_even_asked() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    let commit = repository.commit(&[("a", "1")]);
    let world = World::new();
    let dockerfile = format!("FROM scratch\nADD {} /x\n", daemon.url("app"));
    assert_eq!(world.built(&dockerfile).ran(), 2);
    assert_eq!(world.built(&dockerfile).ran(), 0);
    // Another commit with the same files: fetched, and what stands on it hits.
    repository.git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    repository.git(&["push", "-q", "origin", "HEAD"]);
    let moved = world.built(&dockerfile);
    assert_eq!(moved.ran(), 1, "{:?}", moved.verdicts());
    repository.commit(&[("a", "2")]);
    assert_eq!(world.built(&dockerfile).ran(), 2);

    let by_commit = format!("FROM scratch\nADD {}#{commit} /x\n", daemon.url("app"));
    world.built(&by_commit);
    drop(daemon);
    assert_eq!(world.built(&by_commit).ran(), 0, "the daemon is gone, and nobody misses it");
    assert!(world.build(|_| ()).result.is_ok());
    world.write("Dockerfile", &dockerfile);
    let gone = world.build(|_| ()).error();
    assert!(gone.contains("git failed to ask git://127.0.0.1:"), "{gone}");
}

#[test]
fn modes_and_times_are_those_of_git_whatever_the_umask() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    fs::write(repository.work.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(repository.work.join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("run.sh", repository.work.join("link")).unwrap();
    repository.commit(&[("dir/plain", "x")]);
    let world = World::new();
    world.built(&format!("FROM scratch\nADD {}?mtime=commit /x\n", daemon.url("app")));
    let mode = |name: &str| fs::symlink_metadata(world.out(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("x/run.sh"), mode("x/dir"), mode("x/dir/plain")), (0o755, 0o755, 0o644));
    assert_eq!(world.files()["x/link"], "-> run.sh");
    assert_eq!(fs::metadata(world.out("x/dir/plain")).unwrap().mtime(), COMMIT_SECONDS);
}

#[test]
fn the_git_directory_stays_where_it_is_asked_for_and_knows_its_origin() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    repository.commit(&[("a", "1")]);
    repository.git(&["tag", "v1"]);
    repository.git(&["push", "-q", "--tags", "origin"]);
    let world = World::new();
    world.built(&format!("FROM scratch\nADD --keep-git-dir=true {}#v1 /x\n", daemon.url("app")));
    let copy = world.out("x");
    assert_eq!(git(&copy, &["config", "remote.origin.url"]), daemon.url("app"));
    assert_eq!(git(&copy, &["describe", "--tags"]), "v1");
    assert_eq!(git(&copy, &["status", "--porcelain"]), "");
}

#[test]
fn a_checksum_is_the_commit_or_its_beginning() {
    let Some(daemon) = Daemon::start() else { return };
    let commit = daemon.repository("app").commit(&[("a", "1")]);
    let world = World::new();
    let url = daemon.url("app");
    world.built(&format!("FROM scratch\nADD --checksum={} {url}#main /x\n", &commit[..12]));
    let other = "0".repeat(40);
    world.write("Dockerfile", format!("FROM scratch\nADD --checksum={other} {url}#main /x\n"));
    let error = world.build(|_| ()).error();
    assert!(error.contains(&format!("{url} is at commit {commit}, not {other}")), "{error}");
}

#[test]
fn submodules_come_along_but_never_from_the_hosts_own_files() {
    let Some(daemon) = Daemon::start() else { return };
    daemon.repository("library").commit(&[("lib.c", "code")]);
    let repository = daemon.repository("app");
    repository.commit(&[("a", "1")]);
    repository.git(&["submodule", "add", "-q", &daemon.url("library"), "lib"]);
    repository.commit(&[]);
    let world = World::new();
    world.built(&format!("FROM scratch\nADD {} /x\n", daemon.url("app")));
    assert_eq!(world.files()["x/lib/lib.c"], "code");
    assert!(names(&world).iter().all(|name| !name.ends_with("/.git")));
    world.built(&format!("FROM scratch\nADD {}?submodules=false /x\n", daemon.url("app")));
    assert!(!world.files().contains_key("x/lib/lib.c"));

    let local = daemon.path("library");
    repository.git(&["config", "-f", ".gitmodules", "submodule.lib.url", local.to_str().unwrap()]);
    repository.commit(&[]);
    world.write("Dockerfile", format!("FROM scratch\nADD {} /x\n", daemon.url("app")));
    let error = world.build(|_| ()).error();
    assert!(error.contains("transport 'file' not allowed"), "{error}");
}

#[test]
fn a_subdirectory_cannot_be_reached_through_a_link() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    std::os::unix::fs::symlink("/etc", repository.work.join("etc")).unwrap();
    repository.commit(&[("dir/a", "1")]);
    let world = World::new();
    for subdir in ["etc", "etc/ssl", "none", "dir/a", ".git"] {
        world.write("Dockerfile", format!("FROM scratch\nADD {}#:{subdir} /x\n", daemon.url("app")));
        let error = world.build(|_| ()).error();
        assert!(error.contains(&format!("has no directory {subdir:?}")), "{error}");
    }
}

#[test]
fn what_a_repository_lacks_is_named() {
    let Some(daemon) = Daemon::start() else { return };
    daemon.repository("app").commit(&[("a", "1")]);
    let _ = daemon.repository("empty");
    let world = World::new();
    let mut said = String::new();
    for source in ["app.git#v9", "app.git#0123456789012345678901234567890123456789", "empty.git", "none.git"] {
        let url = daemon.url("app").replace("app.git", source);
        world.write("Dockerfile", format!("FROM scratch\nADD {url} /x\n"));
        let port = daemon.url("").rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
        said += &format!("{source}\n{}\n", world.build(|_| ()).error().replace(&port, "PORT"));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_server_of_plain_files_is_read_too() {
    let Some(daemon) = Daemon::start() else { return };
    let repository = daemon.repository("app");
    let first = repository.commit(&[("a", "1")]);
    repository.commit(&[("a", "2")]);
    git(&daemon.path("app"), &["update-server-info"]);
    let root = daemon.path("app").parent().unwrap().to_path_buf();
    // Git's old protocol for servers that know nothing of git: files, and no shallow histories.
    let server = Server::new(move |asked| {
        let path = asked.line.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
        match fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(body) => (200, Vec::new(), body),
            Err(_) => (404, Vec::new(), Vec::new()),
        }
    });
    let world = World::new();
    let url = server.url("/app.git");
    world.built(&format!("FROM scratch\nADD {url} /new\nADD {url}#{first} /old\n"));
    let files = world.files();
    assert_eq!((files["new/a"].as_str(), files["old/a"].as_str()), ("2", "1"));
}

#[test]
fn a_token_for_git_is_sent_and_is_in_no_file_or_message() {
    use kiln_engine::api::{Secret, SecretSource};
    const TOKEN: &str = "open-sesame-0123456789";
    let server = Server::new(|asked| match asked.headers.get("authorization") {
        Some(_) => (404, Vec::new(), Vec::new()),
        None => (401, vec![("www-authenticate", "Basic realm=x".to_owned())], Vec::new()),
    });
    let world = World::new();
    world.write("Dockerfile", format!("FROM scratch\nADD {} /x\n", server.url("/app.git")));
    if world.build(|_| ()).error().contains("there is no git") {
        return crate::support::skip("git");
    }
    assert!(server.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
    fs::write(world.path("token"), TOKEN).unwrap();
    let secret = Secret { id: "GIT_AUTH_TOKEN".to_owned(), source: SecretSource::File(world.path("token")) };
    let built = world.build(|request| request.secrets = vec![secret]);
    assert!(built.error().contains("not found"), "{}", built.error());
    let sent = server.asked();
    // The word for the token is how GitHub and BuildKit call it.
    let expected = "basic eC1hY2Nlc3MtdG9rZW46b3Blbi1zZXNhbWUtMDEyMzQ1Njc4OQ==";
    assert!(sent.iter().all(|asked| asked.headers["authorization"] == expected), "{sent:?}");
    fs::remove_file(world.path("token")).unwrap();
    assert!(!format!("{:?} {}", built.events, built.error()).contains(TOKEN));
    assert_eq!(grep(TOKEN, &world.path("")), Some(1));
}

fn grep(text: &str, dir: &Path) -> Option<i32> {
    std::process::Command::new("grep").args(["-rqF", text]).arg(dir).status().unwrap().code()
}
