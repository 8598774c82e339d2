//! Steps that depend on what is below them, each in one particular way: whatever of it changes must run them,
//! and a change that they do not depend on must not.
//!
//! All cases are stages of one project, each with a directory of its own, and are judged by three builds: as
//! they are, after every case's twin edit, and after every case's real one.

use kiln_tests::{Build, Kiln, Project, has_tool};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// One case: its name, more of its setup than every case has, its command, the edit that is nothing to it and
/// the one that is. Commands of a shell in the case's directory; an empty edit is the usual one.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What every case's directory has.
const SETUP: &str = "echo 1 > f; echo 1 > other; mkdir d; echo 1 > d/x; ln -s f l; ln -s d ld";
const USUAL_TWIN: &str = "echo 2 > other";
const USUAL_EDIT: &str = "echo 2 > f";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Shells and their tools.
    ("content", "", "cat f", "", ""),
    ("size", "", "stat -c %s f", "", "echo 22 > f"),
    ("newer", "", "test f -nt d/x", "", ""),
    ("mode", "", "stat -c %a f", "chmod 600 other", "chmod 600 f"),
    ("absence", "", "test -e none", "touch none2", "touch none"),
    ("absence-below", "", "cat e/x", "mkdir e2", "mkdir e; echo > e/x"),
    ("listing", "", "ls d", "echo 2 > d/x", "touch d/new"),
    ("listing-type", "", "ls d", "chmod 600 d/x", "rm d/x; mkdir d/x"),
    ("glob", "", "echo d/*", "echo 2 > d/x", "touch d/new"),
    ("link", "", "readlink l", "", "ln -sfn d l"),
    ("link-followed", "", "cat l", "", ""),
    ("link-dangling", "ln -s none dangling", "cat dangling", "", "echo > none"),
    ("link-directory", "mkdir d2; echo 9 > d2/x", "cat ld/x", "echo 2 > d2/x", "ln -sfn d2 ld"),
    ("directory-mode", "", "stat -c %a d", "touch d/new", "chmod 700 d"),
    ("directory-gone", "", "test -d d", "", "rm -r d"),
    ("directory-file", "", "test -d d", "", "rm -r d; echo > d"),
    ("dotdot", "", "cat d/../f", "", ""),
    ("path-search", "mkdir b1 b2; cp /bin/true b2/tool", "PATH=$PWD/b1:$PWD/b2:$PATH tool", "touch b2/more", "cp /bin/false b1/tool"),
    ("interpreter", "cp ../../bin/looks-static interp; printf '#!%s/interp open\\n' /w/interpreter > script; chmod +x script", "./script", "", "echo >> interp"),
    ("script", "printf '#!/bin/sh\\necho hi\\n' > script; chmod +x script", "./script", "", "echo 'echo more' >> script"),
    ("source", "", "(. ./f)", "", ""),
    ("library-path", "mkdir l1 l2; cp ../../bin/libthing.so l2", "LD_LIBRARY_PATH=$PWD/l1:$PWD/l2 /p/linked", "touch l2/more", "cp l2/libthing.so l1"),
    ("library", "mkdir l2; cp ../../bin/libthing.so l2", "LD_LIBRARY_PATH=$PWD/l2 /p/linked", "touch l2/more", "echo >> l2/libthing.so"),
    ("preload", "cp ../../bin/libthing.so .", "LD_PRELOAD=$PWD/libthing.so cat other", "echo 2 > d/x", "echo >> libthing.so"),
    ("locale", "mkdir loc", "LOCPATH=$PWD/loc LC_ALL=xx_XX.UTF-8 sort f", "", "mkdir -p loc/xx_XX.UTF-8"),
    ("grep", "", "grep -r 1 d", "", "echo 2 > d/x"),
    ("find-size", "", "find d -size +1", "", "echo 2 > d/x"),
    ("find-names", "mkdir d/e", "find d -name '*z'", "echo 2 > d/x", "touch d/e/z"),
    ("tar", "", "tar c d | sha256sum", "", "chmod 600 d/x"),
    ("copy", "", "cp -a d made", "", "chmod 600 d/x"),
    ("rename", "", "mv f made", "", ""),
    ("rename-directory", "", "mv d made", "", "echo 2 > d/x"),
    ("remove", "", "rm f", "", "rm f; mkdir f"),
    ("remove-all", "", "rm -rf d", "", "touch d/new"),
    ("remove-empty", "mkdir empty; touch empty/.keep", "rm empty/.keep; rmdir empty", "", "touch empty/new"),
    ("hard-link", "", "ln f made", "", ""),
    ("append", "", "echo more >> f", "", ""),
    ("chmod", "", "chmod 711 f", "", ""),
    ("chown", "", "chown 7:8 f", "", ""),
    ("touch", "", "touch f", "", ""),
    ("overwrite", "", "echo new > f", "", "chmod 600 f"),
    ("create-below", "", "echo > d/made", "echo 2 > d/x", "chmod 700 d"),
    ("create-met", "", "echo > made", "", "mkdir made"),
    ("own-link", "", "ln -s d made; cat made/x", "", "echo 2 > d/x"),
    ("recreated", "", "rm f; echo again > f", "", "rm f"),
    ("recreated-directory", "", "rm -r d; mkdir d; touch d/own", "", "touch d/new"),
    ("own-then-parents", "", "mkdir made; cp f made; cat made/f", "", ""),
    ("cd", "", "cd d && cat x", "", "echo 2 > d/x"),
    ("inherited", "", "exec 3< f; sh -c 'cat <&3'", "", ""),
    ("proc-fd", "", "exec 3< f; cat /proc/self/fd/3", "", ""),
    ("proc-cwd", "", "cat /proc/self/cwd/f", "", ""),
    ("proc-root", "", "cat /proc/self/root/w/proc-root/f", "", ""),
    ("background", "", "(cat f &) ; wait; sleep 0.1", "", ""),
    // Python.
    ("python-import", "mkdir m; echo 'v = 1' > m/thing.py", "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=m python3 -c 'import thing'", "", "echo 'v = 2' > m/thing.py"),
    ("python-shadow", "mkdir m; echo 'v = 1' > m/thing.py", "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=m python3 -c 'import thing'", "", "mkdir m/thing; touch m/thing/__init__.py"),
    ("python-listdir", "", "python3 -c 'import os; print(os.listdir(\"d\"))'", "echo 2 > d/x", "touch d/new"),
    ("python-scandir", "", "python3 -c 'import os; print([e.stat().st_size for e in os.scandir(\"d\")])'", "", "echo 22 > d/x"),
    ("python-exists", "", "python3 -c 'import os; print(os.path.exists(\"none\"))'", "", "touch none"),
    // C.
    ("c-open", "", "/p/looks open", "", ""),
    ("c-static", "", "/p/looks-static open", "", ""),
    ("c-threads", "", "/p/looks-static threads", "", "touch none"),
    ("c-vfork", "", "/p/looks vfork", "", ""),
    ("c-fork", "", "/p/looks fork", "", ""),
    ("c-mmap", "", "/p/looks mmap", "", ""),
    ("c-dirfd", "", "/p/looks dirfd", "", "echo 2 > d/x"),
    ("c-fchdir", "", "/p/looks fchdir", "", "echo 2 > d/x"),
    ("c-dotdot", "", "/p/looks dotdot", "", ""),
    ("c-path", "", "/p/looks path", "", ""),
    ("c-path-stat", "", "/p/looks path-stat", "", "echo 22 > f"),
    ("c-openat2", "", "/p/looks openat2", "", "echo 2 > d/x"),
    ("c-execveat", "cp /bin/true tool", "/p/looks execveat", "", "cp /bin/false tool"),
    ("c-fexecve", "cp /bin/true tool", "/p/looks fexecve", "", "cp /bin/false tool"),
    ("c-handle", "", "/p/looks handle", "", "rm f"),
    ("c-statx", "", "/p/looks statx", "", "echo 22 > f"),
    ("c-empty-path", "", "/p/looks empty-path", "", "chmod 600 f"),
    ("c-access", "", "/p/looks access", "", "touch none"),
    ("c-access-x", "", "/p/looks access-x", "", "chmod 755 f"),
    ("c-faccessat2", "", "/p/looks faccessat2", "", "touch none"),
    ("c-telldir", "", "/p/looks telldir", "echo 2 > d/x", "touch d/new"),
    ("c-tmpfile", "", "/p/looks tmpfile", "echo 2 > d/x", "chmod 700 d"),
    ("c-exchange", "echo g > g", "/p/looks exchange", "", "echo 2 > g"),
    ("c-no-replace", "", "/p/looks no-replace", "", "touch none"),
    ("c-inotify", "", "/p/looks inotify", "", "rm d/x"),
    ("c-sendfile", "", "/p/looks sendfile", "", ""),
    ("c-copy-range", "", "/p/looks copy-range", "", ""),
    ("c-splice", "", "/p/looks splice", "", ""),
    ("c-io-uring", "", "/p/looks io-uring", "", ""),
    ("c-xattr", "", "/p/looks xattr", "", "rm f"),
    ("c-set-xattr", "", "/p/looks set-xattr", "", ""),
    ("c-readlinkat", "", "/p/looks readlinkat", "", "ln -sfn d l"),
    ("c-truncate", "", "/p/looks truncate", "", "echo 2 > f"),
    ("c-utimes", "", "/p/looks utimes", "", ""),
    ("c-unlinkat", "", "/p/looks unlinkat", "", "rm d/x"),
    ("c-rw", "", "/p/looks rw", "", ""),
    ("c-mmap-write", "", "/p/looks mmap-write", "", ""),
    ("c-mkfifo", "", "/p/looks mkfifo", "", "touch none"),
    ("c-bind", "", "/p/looks bind", "", "touch none"),
    ("c-chroot", "", "/p/looks-static chroot", "", ""),
    ("c-setuid", "", "/p/looks setuid", "", "chmod 600 f"),
    ("c-passed", "", "/p/looks passed", "", ""),
    ("c-int80", "", "/p/int80", "", ""),
];

fn sh(directory: &Path, script: &str) {
    let ran = Command::new("sh").arg("-ec").arg(script).current_dir(directory).output().unwrap();
    assert!(ran.status.success(), "{}: {script}: {}", directory.display(), String::from_utf8_lossy(&ran.stderr));
}

/// Builds the helpers that cases run; `None` where there is no C compiler.
fn helpers(bin: &Path) -> Option<()> {
    has_tool("gcc")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/soundness");
    fs::create_dir_all(bin).unwrap();
    let source = source.display();
    sh(
        bin,
        &format!(
            "gcc -w -pthread -o looks {source}/looks.c; gcc -w -static -pthread -o looks-static {source}/looks.c
             gcc -w -m32 -static -nostdlib -ffreestanding -fno-pie -no-pie -o int80 {source}/int80.c
             echo 'int thing(void) {{ return 0; }}' > thing.c; gcc -shared -fPIC -o libthing.so thing.c
             echo 'int thing(void); int main(void) {{ return thing(); }}' > linked.c
             gcc -o linked linked.c -L. -lthing; rm thing.c linked.c"
        ),
    );
    Some(())
}

fn dockerfile() -> String {
    let mut text = String::new();
    for (name, _, command, ..) in CASES {
        let _ = writeln!(
            text,
            "FROM kiln/host AS {name}\nCOPY bin /p\nCOPY tree /w\nWORKDIR /w/{name}\nRUN : {name} && ({command}) > /out 2>&1 || true"
        );
    }
    text.push_str("FROM scratch\n");
    for (name, ..) in CASES {
        let _ = writeln!(text, "COPY --from={name} /out /{name}");
    }
    text
}

/// The verdict of each case's RUN, by the case's name.
fn verdict<'a>(verdicts: &'a [String], name: &str) -> &'a str {
    let start = format!("RUN : {name} &&");
    let line = verdicts.iter().find(|line| line.starts_with(&start)).unwrap();
    line.rsplit_once(" = ").unwrap().1
}

#[test]
fn what_a_step_depends_on_runs_it_and_nothing_else_does() {
    assert!(CASES.len() >= 60);
    let (kiln, project) = (Kiln::new(), Project::new(&[(".dockerignore", "Dockerfile\n")]));
    if helpers(&project.at("bin")).is_none() {
        return;
    }
    project.write("Dockerfile", &dockerfile());
    let each = |script: &dyn Fn(&Case) -> String| {
        for case in CASES {
            let directory = project.at("tree").join(case.0);
            fs::create_dir_all(&directory).unwrap();
            sh(&directory, &script(case));
        }
    };
    let build = || -> Build { kiln.build([project.path()]).ok() };
    each(&|case| format!("{SETUP}; {}", case.1));
    let first = build().verdicts();
    assert!(CASES.iter().all(|case| verdict(&first, case.0).starts_with("miss")), "{first:#?}");
    each(&|case| if case.3.is_empty() { USUAL_TWIN } else { case.3 }.to_owned());
    let twin = build().verdicts();
    let ran: Vec<&str> =
        CASES.iter().map(|case| case.0).filter(|name| verdict(&twin, name) != "hit (traced)").collect();
    assert_eq!(ran, Vec::<&str>::new(), "ran though nothing that they depend on changed");
    each(&|case| if case.4.is_empty() { USUAL_EDIT } else { case.4 }.to_owned());
    let edited = build().verdicts();
    let hit: Vec<&str> =
        CASES.iter().map(|case| case.0).filter(|name| !verdict(&edited, name).starts_with("miss")).collect();
    assert_eq!(hit, Vec::<&str>::new(), "did not run though something that they depend on changed");
}
