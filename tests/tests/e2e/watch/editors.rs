//! Ways in which editors and tools save: each is one rebuild, and what changes nothing is none.

use super::{Watch, clean_image, timeless};
use kiln_tests::{Project, has_tool};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Writes and syncs, as careful editors do.
fn write(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

/// What a tool does to save a new content into a file in this directory.
type Save = fn(&Path, &str);

/// vim where it may rename (`backupcopy=auto`): a probe, the old file as backup, the new one, the backup removed.
fn vim_by_renaming(dir: &Path, content: &str) {
    let (file, backup, probe) = (dir.join("f"), dir.join("f~"), dir.join("4913"));
    write(&probe, "");
    fs::remove_file(&probe).unwrap();
    fs::rename(&file, &backup).unwrap();
    write(&file, content);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(&backup).unwrap();
}

/// vim where it may not (`backupcopy=yes`): a copy as backup, the file written in place.
fn vim_by_copying(dir: &Path, content: &str) {
    let (file, backup) = (dir.join("f"), dir.join("f~"));
    fs::copy(&file, &backup).unwrap();
    write(&file, content);
    fs::remove_file(&backup).unwrap();
}

/// VS Code: truncated, written, its mode set.
fn vs_code(dir: &Path, content: &str) {
    let file = dir.join("f");
    let mut open = File::options().write(true).truncate(true).open(&file).unwrap();
    open.write_all(content.as_bytes()).unwrap();
    open.sync_all().unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
}

/// The JetBrains editors: beside, the old one aside, the new one in its place.
fn jetbrains(dir: &Path, content: &str) {
    let (file, new, old) = (dir.join("f"), dir.join("f___jb_tmp___"), dir.join("f___jb_old___"));
    write(&new, content);
    fs::rename(&file, &old).unwrap();
    fs::rename(&new, &file).unwrap();
    fs::remove_file(&old).unwrap();
}

/// Emacs: the old file stays as a backup.
fn emacs(dir: &Path, content: &str) {
    let file = dir.join("f");
    fs::rename(&file, dir.join("f~")).unwrap();
    write(&file, content);
}

/// `sed -i`, and everything that writes beside and renames.
fn beside_and_renamed(dir: &Path, content: &str) {
    let beside = dir.join("sedXyZ123");
    write(&beside, content);
    fs::rename(&beside, dir.join("f")).unwrap();
}

/// Removed and created.
fn removed_and_created(dir: &Path, content: &str) {
    fs::remove_file(dir.join("f")).unwrap();
    write(&dir.join("f"), content);
}

/// In small pieces.
fn piecemeal(dir: &Path, content: &str) {
    let mut file = File::create(dir.join("f")).unwrap();
    for byte in content.bytes() {
        file.write_all(&[byte]).unwrap();
    }
}

#[test]
fn every_way_of_saving_is_one_rebuild() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n"), ("src/f", "0"), ("src/g", "0")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    let ways: [(&str, Save); 8] = [
        ("vim by renaming", vim_by_renaming),
        ("vim by copying", vim_by_copying),
        ("VS Code", vs_code),
        ("JetBrains", jetbrains),
        ("Emacs", emacs),
        ("beside and renamed", beside_and_renamed),
        ("removed and created", removed_and_created),
        ("piecemeal", piecemeal),
    ];
    for (way, save) in ways {
        save(&project.at("src"), &format!("saved by {way}"));
        let round = watch.until_quiet(1);
        assert_eq!(round.images, [clean_image(&project)], "{way}: {round:?}");
        // The same again changes nothing but perhaps a backup.
        if way != "Emacs" {
            save(&project.at("src"), &format!("saved by {way}"));
            let round = watch.until_quiet(0);
            assert!(round.images.is_empty(), "{way} again: {round:?}");
        }
    }
}

#[test]
fn a_touch_is_no_change_and_a_mode_is_one() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n"), ("src/f", "0")]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    let file = File::options().write(true).open(project.at("src/f")).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    fs::create_dir(project.at("src/.tmp")).unwrap();
    fs::remove_dir(project.at("src/.tmp")).unwrap();
    let round = watch.until_quiet(0);
    assert!(round.images.is_empty(), "{round:?}");
    fs::set_permissions(project.at("src/f"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(watch.until_quiet(1).images, [clean_image(&project)]);
}

#[test]
fn a_checkout_of_500_files_is_one_rebuild_and_there_and_back_is_none() {
    let Some(git) = has_tool("git") else { return };
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY src/ /\n")]);
    let run = |args: &[&str]| {
        let mut command = Command::new(&git);
        command.current_dir(project.path()).env("HOME", project.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        let output = command.args(identity).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let fill = |content: &str| {
        for number in 0..500 {
            project.write(&format!("src/{}/f{number}", number % 10), &format!("{content} {number}"));
        }
    };
    fill("one");
    run(&["init", "-q"]);
    run(&["add", "."]);
    run(&["commit", "-qm", "one"]);
    run(&["checkout", "-qb", "other"]);
    fill("two");
    run(&["commit", "-qam", "two"]);
    let kiln = timeless();
    let (mut watch, _) = Watch::start(&kiln, &project, &[]);
    run(&["checkout", "-q", "main"]);
    let round = watch.until_quiet(1);
    assert_eq!(round.images, [clean_image(&project)], "{} changes", round.changes.len());
    assert_eq!(round.changes[0].len(), 500);
    run(&["checkout", "-q", "other"]);
    run(&["checkout", "-q", "main"]);
    let back = watch.until_quiet(0);
    // Seen in between on a slow machine, the image is the one it was all the same.
    assert!(back.images.is_empty() || back.images.last() == round.images.last(), "{back:?}");
}
