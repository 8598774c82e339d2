//! A build killed at a random instant leaves a store that the next build uses, and its image is right.

use kiln_tests::{Kiln, Project};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often a build is killed.
const KILLS: u64 = 50;

/// A build that does every kind of work: copies, parallel stages, commands, an output.
const DOCKERFILE: &str = "FROM kiln/host AS a\nCOPY files /files\nRUN cat /files/* > /all && rm /files/f1\n\
    FROM kiln/host AS b\nWORKDIR /b/c\nRUN for i in $(seq 200); do echo $i > $i; done\n\
    FROM scratch\nCOPY --from=a /all /files /a/\nCOPY --from=b /b /b\n";

fn project() -> Project {
    let project = Project::new(&[("Dockerfile", DOCKERFILE)]);
    for number in 0..200 {
        project.write(&format!("files/f{number}"), &format!("file {number}\n"));
    }
    project
}

/// All that the image holds, as the program itself exports it.
fn exported(kiln: &Kiln, project: &Project, name: &str) -> Vec<u8> {
    let tar = kiln.scratch().join(name);
    let output = format!("type=tar,dest={}", tar.display());
    let _build = kiln.build(["-o".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    std::fs::read(&tar).unwrap()
}

#[test]
fn fifty_builds_killed_at_any_instant_leave_a_store_that_the_next_build_uses() {
    let project = project();
    let clean = Kiln::new().env("SOURCE_DATE_EPOCH", "1700000000");
    let began = Instant::now();
    let expected = exported(&clean, &project, "clean.tar");
    // How long a build may go on before it is killed: as long as one takes, whatever else the machine does meanwhile.
    let mut window = began.elapsed();
    // A fixed seed: a failure can be repeated, as far as time can.
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut killed = 0;
    let kiln = Kiln::new().env("SOURCE_DATE_EPOCH", "1700000000");
    for round in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if round % 10 == 0 {
            // From an empty store on, so that the first writes are met as well.
            let _ = std::fs::remove_dir_all(kiln.store());
        }
        project.write("files/f7", &format!("round {round}\n"));
        let mut child = kiln
            .command(["build".as_ref(), "-q".as_ref(), project.path().as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random % window.as_micros().max(1) as u64));
        child.kill().unwrap();
        match child.wait().unwrap().code() {
            None => {
                killed += 1;
                window += window / 10;
            }
            Some(_) => window -= window / 5,
        }
        if round % 5 == 4 {
            project.write("files/f7", "file 7\n");
            assert!(exported(&kiln, &project, "after.tar") == expected, "round {round}: another image");
        }
    }
    assert!(killed >= 10, "only {killed} builds were killed before they ended");
    project.write("files/f7", "file 7\n");
    assert!(exported(&kiln, &project, "after.tar") == expected);
    let left = std::fs::read_dir(kiln.store().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "what the dead left behind is swept");
}
