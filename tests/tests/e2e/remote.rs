//! What ADD and contexts read from elsewhere, from a server on loopback: fetched once, asked again cheaply, checked.

use kiln_tests::server::{self, Server};
use kiln_tests::{Kiln, Project, has_tool};
use sha2::Digest as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// A server, the directory that it serves, and a kiln beside it.
fn served(files: &[(&str, &str)]) -> (Server, Project, Kiln) {
    let files = Project::new(files);
    (Server::start(files.path()).unwrap(), files, Kiln::new())
}

/// Builds this Dockerfile and writes the image's files to `out` in the scratch directory.
fn built(kiln: &Kiln, dockerfile: &str, more: &[&str]) -> kiln_tests::Build {
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let out = kiln.scratch().join("out");
    let _ = fs::remove_dir_all(&out);
    let output = format!("type=local,dest={}", out.display());
    let mut args = vec!["-o", &output, project.path().to_str().unwrap()];
    args.extend(more);
    kiln.build(args)
}

/// An error without the breaks of its lines.
fn words(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn statuses(server: &Server) -> Vec<u16> {
    server.take_log().iter().map(|seen| seen.status).collect()
}

#[test]
fn a_file_behind_a_url_is_fetched_once_and_then_asked_for_on_a_condition() {
    let (server, files, kiln) = served(&[("a/tool.sh", "one")]);
    let dockerfile =
        format!("FROM scratch\nADD {}/a/tool.sh /bin/\nADD {}/a/tool.sh /named\n", server.url(), server.url());
    let first = built(&kiln, &dockerfile, &[]).ok();
    let place = kiln.scratch().join("out/bin/tool.sh");
    let about = fs::metadata(&place).unwrap();
    assert_eq!((about.mode() & 0o7777, about.mtime()), (0o600, 1_445_412_480));
    assert_eq!(fs::read_to_string(kiln.scratch().join("out/named")).unwrap(), "one");
    assert_eq!(statuses(&server), [200]);
    let second = built(&kiln, &dockerfile, &[]).ok();
    assert_eq!((second.image(), statuses(&server)), (first.image(), vec![304]));
    assert!(second.ran_steps().is_empty(), "{:#?}", second.verdicts());
    files.write("a/tool.sh", "two");
    let third = built(&kiln, &dockerfile, &[]).ok();
    assert_eq!((fs::read_to_string(&place).unwrap().as_str(), statuses(&server)), ("two", vec![200]));
    assert!(third.image() != first.image() && !third.ran_steps().is_empty(), "{:#?}", third.verdicts());
}

#[test]
fn a_checksum_of_any_algorithm_is_asked_of_nobody_once_it_was_met() {
    let (server, files, kiln) = served(&[("f", "content")]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sums = |content: &str| {
        [
            format!("sha256:{}", hex(&sha2::Sha256::digest(content))),
            format!("sha384:{}", hex(&sha2::Sha384::digest(content))),
            format!("sha512:{}", hex(&sha2::Sha512::digest(content))),
        ]
    };
    let with = |sum: &str| format!("FROM scratch\nADD --checksum={sum} {}/f /f\n", server.url());
    for sum in &sums("content") {
        let _built = built(&kiln, &with(sum), &[]).ok();
        server.take_log();
        let _built = built(&kiln, &with(sum), &[]).ok();
        assert_eq!(statuses(&server), [0_u16; 0], "{sum}");
    }
    for (sum, actual) in sums("other").iter().zip(sums("content")) {
        let failed = built(&kiln, &with(sum), &[]).ran;
        let told = words(&failed.stderr);
        assert_eq!(failed.code, Some(1));
        assert!(told.contains(&format!("has the checksum {actual}, not {sum}")), "{told}");
        assert!(told.contains(&format!("write --checksum={actual}")), "{told}");
    }
    // What is remembered of one content says nothing about the next.
    files.write("f", "other");
    for sum in &sums("other") {
        let _built = built(&kiln, &with(sum), &[]).ok();
        assert_eq!(fs::read_to_string(kiln.scratch().join("out/f")).unwrap(), "other");
    }
}

#[test]
fn an_archive_behind_a_url_is_unpacked_only_where_it_is_asked_for() {
    let (server, files, kiln) = served(&[]);
    let mut archive = tar::Builder::new(fs::File::create(files.at("a.tar")).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o640);
    archive.append_data(&mut header, "inside/f", &b"in"[..]).unwrap();
    archive.finish().unwrap();
    let _built = built(&kiln, &format!("FROM scratch\nADD {}/a.tar /\n", server.url()), &[]).ok();
    assert!(kiln.scratch().join("out/a.tar").is_file());
    let _built = built(&kiln, &format!("FROM scratch\nADD --unpack {}/a.tar /\n", server.url()), &[]).ok();
    assert_eq!(fs::read_to_string(kiln.scratch().join("out/inside/f")).unwrap(), "in");
}

#[test]
fn a_token_goes_to_its_server_and_nowhere_else() {
    let (server, _files, kiln) = served(&[("private/f", "kept"), ("open", "open")]);
    let (other, _others, _) = served(&[("open", "other")]);
    let dockerfile = format!(
        "FROM scratch\nADD {}/private/f /f\nADD {}/open /open\nADD {}/open /other\n",
        server.url(),
        server.url(),
        other.url()
    );
    let refused = built(&kiln, &dockerfile, &[]).ran;
    assert!(refused.code == Some(1) && refused.stderr.contains("HTTP_AUTH_TOKEN_HOST"), "{}", refused.stderr);
    server.take_log();
    let kiln = kiln.env("TOKEN", Server::AUTHORIZATION.trim_start_matches("Bearer "));
    let secret = format!("id=HTTP_AUTH_TOKEN_{},env=TOKEN", server.authority());
    let _built = built(&kiln, &dockerfile, &["--secret", &secret]).ok();
    let sent = |server: &Server| server.take_log().into_iter().map(|seen| seen.authorization).collect::<Vec<_>>();
    assert_eq!(sent(&server), [Some(Server::AUTHORIZATION.to_owned()), Some(Server::AUTHORIZATION.to_owned())]);
    assert!(sent(&other).iter().all(Option::is_none));
}

#[test]
fn what_cannot_be_fetched_is_named_with_the_way_out() {
    let (server, _files, kiln) = served(&[]);
    let gone = built(&kiln, &format!("FROM scratch\nADD {}/gone /\n", server.url()), &[]).ran;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("/gone: the server answered 404"), "{}", gone.stderr);
    assert!(gone.stderr.contains("check the address") && gone.stderr.contains("Dockerfile:2"), "{}", gone.stderr);
}

/// A repository with a branch, a tag, and two commits on `main`.
fn repository(root: &Project) -> (String, String) {
    let place = server::repository(
        root.path(),
        "app.git",
        &[&[("f", "first"), ("sub/g", "g")], &[("f", "second"), ("Dockerfile", "FROM scratch\nCOPY f /from-git\n")]],
    );
    server::run_git(&place, &["tag", "-a", "v1", "-m", "v1", "HEAD~1"]);
    server::run_git(&place, &["branch", "side", "HEAD~1"]);
    (server::run_git(&place, &["rev-parse", "HEAD~1"]), server::run_git(&place, &["rev-parse", "HEAD"]))
}

#[test]
fn a_repository_is_taken_at_a_branch_a_tag_or_a_commit() {
    let Some(_git) = has_tool("git") else { return };
    let (server, files, kiln) = served(&[]);
    let (old, new) = repository(&files);
    let url = format!("{}/git/app.git/.git", server.url());
    let read = |path: &str| fs::read_to_string(kiln.scratch().join("out").join(path)).unwrap();
    let with = |flags: &str, behind: &str| format!("FROM scratch\nADD {flags} {url}{behind} /r/\n");
    for (behind, content) in [
        ("", "second"),
        ("#side", "first"),
        ("#v1", "first"),
        (&*format!("#{old}"), "first"),
        ("?tag=v1", "first"),
        (&*format!("?branch=main&checksum={new}"), "second"),
    ] {
        let _built = built(&kiln, &with("", behind), &[]).ok();
        assert_eq!(read("r/f"), content, "{behind}");
        assert!(!kiln.scratch().join("out/r/.git").exists(), "{behind}");
    }
    let _built = built(&kiln, &with("", "#main:sub"), &[]).ok();
    assert_eq!(read("r/g"), "g");
    let _built = built(&kiln, &with("--keep-git-dir", "#main"), &[]).ok();
    assert!(kiln.scratch().join("out/r/.git/HEAD").is_file());
    let _built = built(&kiln, &with(&format!("--checksum={}", &new[..12]), "#main"), &[]).ok();
    let wrong = built(&kiln, &with(&format!("--checksum={old}"), "#main"), &[]).ran;
    assert!(words(&wrong.stderr).contains(&format!("is at commit {new}, not {old}")), "{}", wrong.stderr);
    let none = built(&kiln, &with("", "#nowhere"), &[]).ran;
    assert!(none.stderr.contains("has no branch or tag \"nowhere\""), "{}", none.stderr);
}

#[test]
fn a_repository_that_did_not_move_costs_one_question_and_one_that_moved_is_a_miss() {
    let Some(_git) = has_tool("git") else { return };
    let (server, files, kiln) = served(&[]);
    let (old, _) = repository(&files);
    let url = format!("{}/git/app.git/.git", server.url());
    let moving = format!("FROM scratch\nADD {url}#main /r/\n");
    let fixed = format!("FROM scratch\nADD {url}#{old} /r/\n");
    let first = built(&kiln, &moving, &[]).ok();
    let _built = built(&kiln, &fixed, &[]).ok();
    server.take_log();
    assert_eq!(built(&kiln, &moving, &[]).ok().image(), first.image());
    let asked: Vec<String> = server.take_log().into_iter().map(|seen| seen.path).collect();
    assert!(asked.iter().all(|path| !path.contains("git-upload-pack?") || path.contains("info/refs")), "{asked:?}");
    assert!(!asked.is_empty() && asked.len() <= 2, "{asked:?}");
    let _built = built(&kiln, &fixed, &[]).ok();
    assert_eq!(server.take_log().len(), 0);
    files.write("git/app.git/f", "third");
    server::run_git(&files.at("git/app.git"), &["commit", "-qam", "third"]);
    let moved = built(&kiln, &moving, &[]).ok();
    assert!(moved.image() != first.image() && !moved.ran_steps().is_empty(), "{:#?}", moved.verdicts());
}

#[test]
fn a_whole_context_may_be_a_repository_or_an_archive_behind_a_url() {
    let Some(_git) = has_tool("git") else { return };
    let (server, files, kiln) = served(&[]);
    repository(&files);
    let out = kiln.scratch().join("out");
    let output = format!("type=local,dest={}", out.display());
    let _built = kiln.build(["-o", &output, &format!("{}/git/app.git/.git#main", server.url())]).ok();
    assert_eq!(fs::read_to_string(out.join("from-git")).unwrap(), "second");
    let mut archive = tar::Builder::new(fs::File::create(files.at("context.tar")).unwrap());
    for (name, content) in [("Dockerfile", "FROM scratch\nCOPY f /from-tar\n"), ("f", "in the tar")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let _built = kiln.build(["-o", &output, &format!("{}/context.tar", server.url())]).ok();
    assert_eq!(fs::read_to_string(out.join("from-tar")).unwrap(), "in the tar");
    files.write("Plain", "FROM scratch\nCOPY <<f /alone\ntext\nf\n");
    let _built = kiln.build(["-o", &output, &format!("{}/Plain", server.url())]).ok();
    assert_eq!(fs::read_to_string(out.join("alone")).unwrap(), "text\n");
}
