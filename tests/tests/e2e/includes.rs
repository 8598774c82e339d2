//! INCLUDE where the Dockerfile came from elsewhere: an archive, a repository, an address.

use kiln_tests::project::archive;
use kiln_tests::server::{self, Server};
use kiln_tests::{Kiln, Project, Ran, has_tool};
use std::fs;

const MAIN: &str = "INCLUDE \"../lib/common.kiln\"\nFROM scratch\nUSE put(f)\n";
const COMMON: &str = "INCLUDE \"more.kiln\"\nDEF put(name)\nCOPY $name /put\nUSE note($name)\nEND\n";
const MORE: &str = "DEF note(name)\nLABEL put=$name\nEND\n";
const FILES: [(&str, &str); 4] =
    [("app/build.kiln", MAIN), ("lib/common.kiln", COMMON), ("lib/more.kiln", MORE), ("f", "from elsewhere")];

/// An error with the addresses that differ from run to run taken out.
fn told(ran: &Ran, server: &Server) -> String {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.stderr.replace(&server.url(), "http://SERVER")
}

#[test]
fn a_file_is_included_from_an_archive_and_from_a_repository() {
    let files = Project::new(&[]);
    let (server, kiln) = (Server::start(files.path()).unwrap(), Kiln::new());
    let out = kiln.scratch().join("out");
    let output = format!("type=local,dest={}", out.display());
    fs::write(files.at("context.tar"), archive(&FILES)).unwrap();
    let by_hand = Project::new(&[("Dockerfile", "FROM scratch\nCOPY f /put\nLABEL put=f\n"), ("f", "from elsewhere")]);
    let expected = kiln.build([by_hand.path()]).ok().image();
    let url = format!("{}/context.tar", server.url());
    let built = kiln.build(["-f", "app/build.kiln", "-o", &output, &url]).ok();
    assert_eq!(fs::read_to_string(out.join("put")).unwrap(), "from elsewhere");
    assert_eq!(built.image(), expected);
    let Some(_git) = has_tool("git") else { return };
    server::repository(files.path(), "app.git", &[&FILES]);
    let url = format!("{}/git/app.git/.git#main", server.url());
    assert_eq!(kiln.build(["-f", "app/build.kiln", "-o", &output, &url]).ok().image(), expected);
}

#[test]
fn what_cannot_be_included_from_elsewhere_is_told() {
    let files = Project::new(&[("alone.kiln", "FROM scratch\nINCLUDE \"lib/common.kiln\"\n")]);
    let (server, kiln) = (Server::start(files.path()).unwrap(), Kiln::new());
    let context = |main: &str| {
        fs::write(files.at("context.tar"), archive(&[("app/build.kiln", main), ("large.kiln", "")])).unwrap();
        let url = format!("{}/context.tar", server.url());
        let ran = kiln.run(["build", "--progress=quiet", "-f", "app/build.kiln", &url]);
        told(&ran, &server)
    };
    let all = [
        context("FROM scratch\nINCLUDE \"none.kiln\"\n"),
        context("FROM scratch\nINCLUDE \"../../etc/passwd\"\n"),
        context("FROM scratch\nINCLUDE \"../app\"\n"),
        told(&kiln.run(["build", "--progress=quiet", &format!("{}/alone.kiln", server.url())]), &server),
        {
            let url = format!("{}/alone.kiln", server.url());
            told(&kiln.run(["build", "--progress=quiet", "-f", &url, files.path().to_str().unwrap()]), &server)
        },
    ];
    insta::assert_snapshot!(all.join("\n"));
}
