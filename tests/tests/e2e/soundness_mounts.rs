//! Steps that depend on what a bind mount shows: whatever of it they look at must run them when it changes, and the
//! rest of it must not.
//!
//! Every case is tried from the context, and by turns from another stage, from a stage on the host's files and from an
//! image. It is judged as in [`super::soundness`]: as it is, after an edit that is nothing to it, and after the real one.

use kiln_tests::{Build, Kiln, Project};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// One case: its name, more of its setup than every case has, its mounts, its command, the edit that is nothing to it
/// and the one that is. A mount is `SOURCE:TARGET` and perhaps `:rw`, the source in the case's directory, which the root
/// has too, at /w. An empty list of mounts is the whole directory at /m, an empty edit the usual one.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

/// What every case's directory has.
const SETUP: &str = "echo 1 > f; echo 1 > other; mkdir d d2; echo 1 > d/x; echo 1 > d2/x; ln -s f l; ln -s d ld";
const USUAL_TWIN: &str = "echo 2 > other";
const USUAL_EDIT: &str = "echo 2 > f";

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("content", "", "", "cat /m/f", "", ""),
    ("size", "", "", "stat -c %s /m/f", "", "echo 22 > f"),
    ("mode", "", "", "stat -c %a /m/f", "chmod 600 other", "chmod 600 f"),
    ("absence", "", "", "test -e /m/none", "touch none2", "touch none"),
    ("absence-below", "", "", "cat /m/e/x", "mkdir e2", "mkdir e; echo > e/x"),
    ("gone", "", "", "cat /m/f", "", "rm f"),
    ("listing", "", "", "ls /m/d", "echo 2 > d/x", "touch d/new"),
    ("listing-root", "", "", "ls /m", "echo 2 > d/x", "touch new"),
    ("listing-type", "", "", "ls /m/d", "chmod 600 d/x", "rm d/x; mkdir d/x"),
    ("glob", "", "", "echo /m/d/*", "echo 2 > d/x", "touch d/new"),
    ("link", "", "", "readlink /m/l", "", "ln -sfn d l"),
    ("link-followed", "", "", "cat /m/l", "", ""),
    ("link-directory", "", "", "cat /m/ld/x", "echo 2 > d2/x", "ln -sfn d2 ld"),
    ("link-out", "ln -s /w/f out", "", "cat /m/out", "", ""),
    ("link-dangling", "ln -s none dangling", "", "cat /m/dangling", "", "echo > none"),
    ("directory-mode", "", "", "stat -c %a /m/d", "touch d/new", "chmod 700 d"),
    ("directory-file", "", "", "test -d /m/d", "", "rm -r d; echo > d"),
    ("dotdot", "", "", "cat /m/d/../f", "", ""),
    ("find-size", "", "", "find /m/d -size +1", "", "echo 2 > d/x"),
    ("grep", "", "", "grep -r 1 /m/d", "", "echo 2 > d/x"),
    ("copy", "", "", "cp -a /m/d /made", "", "chmod 600 d/x"),
    ("mapped", "", "", "python3 -c 'import mmap; print(mmap.mmap(open(\"/m/f\").fileno(), 0, prot=mmap.PROT_READ)[:])'", "", ""),
    ("exec", "cp /bin/true tool", "", "/m/tool", "", "cp /bin/false tool"),
    ("exec-script", "printf '#!/bin/sh\\ncat /m/f\\n' > script; chmod +x script", "", "/m/script", "", ""),
    ("exec-interpreter", "cp /bin/cat interp; printf '#!/m/interp\\n' > script; chmod +x script", "", "/m/script", "", "echo >> interp"),
    ("exec-path", "mkdir b1 b2; cp /bin/true b2/tool", "", "PATH=/m/b1:/m/b2:$PATH tool", "touch b2/more", "cp /bin/false b1/tool"),
    ("python-import", "mkdir p; echo 'v = 1' > p/thing.py", "", "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/m/p python3 -c 'import thing'", "", "echo 'v = 2' > p/thing.py"),
    // What is mounted, and where.
    ("subdirectory", "", "d:/m", "cat /m/x", "echo 2 > d2/x", "echo 2 > d/x"),
    ("subdirectory-listing", "", "d:/m", "ls /m", "touch new", "touch d/new"),
    ("subdirectory-never-read", "", "d:/m", "true; cat /w/other", "echo 2 > d/x", "echo 2 > other"),
    ("subdirectory-file", "mkdir s", "s:/m", "test -d /m", "", "rm -r s; echo > s"),
    ("file-subdirectory", "echo > s", "s:/m", "test -d /m", "", "rm s; mkdir s; echo > s/s"),
    ("source-link", "ln -s d cur", "cur:/m", "cat /m/x", "echo 2 > d2/x", "echo 3 > d2/x; ln -sfn d2 cur"),
    ("file", "", "f:/m", "cat /m", "", ""),
    ("file-mode", "", "f:/m", "stat -c %a /m", "chmod 600 other", "chmod 600 f"),
    ("file-link", "", "l:/m", "cat /m", "", "ln -sfn other l"),
    ("two", "", "d:/m d2:/n", "cat /m/x", "echo 2 > d2/x", "echo 2 > d/x"),
    ("two-second", "", "d:/m d2:/n", "cat /n/x", "echo 2 > d/x", "echo 2 > d2/x"),
    ("nested", "", ":/m d2:/m/d", "cat /m/d/x", "echo 2 > d/x", "echo 2 > d2/x"),
    ("nested-outer", "", ":/m d2:/m/d", "cat /m/f", "echo 2 > d2/x", ""),
    ("nested-made", "", ":/m d2:/m/made/deep", "ls /m/made/deep", "", "touch d2/new"),
    ("nested-listed", "", ":/m d2:/m/d", "ls /m", "touch d2/new", "touch new"),
    ("hides", "", "d2:/w/d", "cat /w/d/x", "echo 2 > d/x; touch d/new", "echo 2 > d2/x"),
    ("hides-listed", "", "d2:/w/d", "ls /w", "touch d/new d2/new", "touch new"),
    ("beside", "", "d2:/w/made", "ls /w; cat /w/f", "echo 2 > d2/x", ""),
    ("below-listed", "", "d2:/w/made/deep", "ls /w/made; cat /w/made/deep/x", "", "echo 2 > d2/x"),
    // Writes, which are thrown away.
    ("rw-append", "", ":/m:rw", "echo more >> /m/f; cat /m/f", "", ""),
    ("rw-create", "", ":/m:rw", "echo > /m/made; cat /m/made", "", "mkdir made"),
    ("rw-create-below", "", ":/m:rw", "echo > /m/d/made; ls -l /m/d/made", "echo 2 > d/x", "chmod 500 d; rm -r d"),
    ("rw-overwrite", "", ":/m:rw", "echo new > /m/f; cat /m/f", "", "chmod 600 f"),
    ("rw-remove", "", ":/m:rw", "rm /m/f", "", "rm f; mkdir f"),
    ("rw-recreated", "", ":/m:rw", "rm -r /m/d; mkdir /m/d; ls /m/d", "", "touch d/new"),
    ("rw-rename", "", ":/m:rw", "mv /m/d /m/made; cat /m/made/x", "", "echo 2 > d/x"),
    ("rw-chmod", "", ":/m:rw", "chmod 711 /m/f", "", ""),
    ("rw-own-link", "", ":/m:rw", "ln -s d /m/made; cat /m/made/x", "", "echo 2 > d/x"),
    ("ro-refused", "", "", "echo > /m/made", "", "mkdir made"),
];

const IMAGE: &str = "soundness-mounts";

/// Where mounts come from: a name, the words before a source, what is before the case's name in it.
type Origin = (&'static str, &'static str, &'static str);

const CONTEXT: Origin = ("context", "", "binds");
const OTHERS: [Origin; 3] =
    [("stage", ",from=all", "/b"), ("hosted", ",from=hosted", "/b"), ("image", ",from=soundness-mounts", "/b")];

/// Every case from the context and from one of the others.
fn tried() -> impl Iterator<Item = (Origin, &'static Case)> {
    let others = CASES.iter().zip(OTHERS.into_iter().cycle()).map(|(case, origin)| (origin, case));
    CASES.iter().map(|case| (CONTEXT, case)).chain(others)
}

fn sh(directory: &Path, script: &str) {
    let ran = Command::new("sh").arg("-ec").arg(script).current_dir(directory).output().unwrap();
    assert!(ran.status.success(), "{}: {script}: {}", directory.display(), String::from_utf8_lossy(&ran.stderr));
}

fn mounts(case: &Case, (_, from, place): Origin) -> String {
    let mut text = String::new();
    for one in if case.2.is_empty() { ":/m" } else { case.2 }.split(' ') {
        let mut parts = one.split(':');
        let (source, target) = (parts.next().unwrap(), parts.next().unwrap());
        let more = parts.next().map_or_else(String::new, |word| format!(",{word}"));
        let _ = write!(text, "--mount=type=bind{from},source={place}/{}/{source},target={target}{more} ", case.0);
    }
    text
}

fn dockerfile() -> String {
    let mut text = "FROM scratch AS all\nCOPY binds /b\nFROM kiln/host AS hosted\nCOPY binds /b\n".to_owned();
    let mut last = "FROM scratch\n".to_owned();
    for (origin, case) in tried() {
        let name = format!("{}-{}", origin.0, case.0);
        let mounts = mounts(case, origin);
        let _ = writeln!(
            text,
            "FROM kiln/host AS {name}\nCOPY binds/{} /w\nRUN {mounts}: {name} && ({}) > /out 2>&1 || true",
            case.0, case.3
        );
        let _ = writeln!(last, "COPY --from={name} /out /{name}");
    }
    text + &last
}

/// The cases whose verdict is not as `expected`.
fn others(verdicts: &[String], expected: impl Fn(&str) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for (origin, case) in tried() {
        let name = format!("{}-{}", origin.0, case.0);
        let said = format!(": {name} &&");
        let line = verdicts.iter().find(|line| line.contains(&said)).unwrap();
        let verdict = line.rsplit_once(" = ").unwrap().1;
        if !expected(verdict) {
            all.push(format!("{name}: {verdict}"));
        }
    }
    all
}

#[test]
fn what_a_step_looks_at_in_a_bind_mount_runs_it_and_nothing_else_of_it_does() {
    let (kiln, project) = (Kiln::new(), Project::new(&[(".dockerignore", "Dockerfile\n")]));
    project.write("Dockerfile", &dockerfile());
    project.write("image.Dockerfile", "FROM scratch\nCOPY binds /b\n");
    let each = |script: &dyn Fn(&Case) -> String| {
        for case in CASES {
            let directory = project.at("binds").join(case.0);
            fs::create_dir_all(&directory).unwrap();
            sh(&directory, &script(case));
        }
    };
    let build = || -> Build {
        let (file, path) = (project.at("image.Dockerfile"), project.path().to_str().unwrap().to_owned());
        let _image = kiln.build(["-t", IMAGE, "-f", file.to_str().unwrap(), &path]).ok();
        kiln.build([project.path()]).ok()
    };
    each(&|case| format!("{SETUP}; {}", case.1));
    let first = build().verdicts();
    assert_eq!(others(&first, |verdict| verdict.starts_with("miss")), Vec::<String>::new());
    each(&|case| if case.4.is_empty() { USUAL_TWIN } else { case.4 }.to_owned());
    let twin = build().verdicts();
    let ran = others(&twin, |verdict| verdict == "hit (traced)");
    assert_eq!(ran, Vec::<String>::new(), "ran though nothing that they depend on changed");
    each(&|case| if case.5.is_empty() { USUAL_EDIT } else { case.5 }.to_owned());
    let edited = build().verdicts();
    let hit = others(&edited, |verdict| verdict.starts_with("miss"));
    assert_eq!(hit, Vec::<String>::new(), "did not run though something that they depend on changed");
}
