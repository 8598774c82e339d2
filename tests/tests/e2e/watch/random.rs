//! Random edits at random speed: after each quiet moment the image is that of a clean build.
//!
//! The seed is fixed, unless `KILN_SEED` gives another; `KILN_SOAK=N` makes N edits instead of the few that fit
//! between other tests. Git's operations are among them, where it is installed.

use super::{Watch, clean_image, timeless};
use kiln_tests::Project;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// Numbers that are the same everywhere: xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }
}

const PATHS: [&str; 14] = [
    "src/a",
    "src/b",
    "src/c.log",
    "src/d",
    "src/d/a",
    "src/d/b",
    "src/d/e",
    "src/d/e/f",
    "src/g",
    "src/g/h",
    "top",
    "other/x",
    "src/link",
    "src/d/link",
];

/// Files that are hardly edited.
const FILLING: usize = 200;

/// What people do with git; each a line of arguments.
const GIT: [&str; 12] = [
    "add -A",
    "commit -qm more",
    "commit -qam more",
    "stash -q",
    "stash -qu",
    "stash pop -q",
    "checkout -q main",
    "checkout -q other",
    "checkout -q -- src",
    "reset -q --hard HEAD~1",
    "rebase -q main",
    "merge -q main",
];

/// Runs git on the project; that it refuses is as good as anything.
fn git(project: &Project, line: &str) {
    let mut command = std::process::Command::new("git");
    command.current_dir(project.path()).env("HOME", project.path()).env("GIT_CONFIG_NOSYSTEM", "1");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]);
    command.args(line.split(' ')).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let is_done = command.status().is_ok_and(|status| status.success());
    if !is_done && matches!(line, "rebase -q main" | "merge -q main") {
        git(project, if line.starts_with("rebase") { "rebase --abort" } else { "merge --abort" });
    }
}

/// One edit; what cannot be done is not.
fn edit(project: &Project, dice: &mut Dice, number: usize) {
    let (one, two) = (dice.pick(&PATHS), dice.pick(&PATHS));
    let (from, to) = (project.at(one), project.at(two));
    match dice.roll(14) {
        12.. => git(project, dice.pick(&GIT)),
        10..=11 => project.write(&format!("src/filling/{}", dice.roll(FILLING)), &format!("{number}")),
        0..=3 => {
            if let Some(parent) = from.parent() {
                drop(fs::create_dir_all(parent));
            }
            drop(fs::write(&from, format!("{number}")));
        }
        4 => drop(fs::remove_file(&from)),
        5 => drop(fs::remove_dir_all(&from)),
        6 => drop(fs::rename(&from, &to)),
        7 => drop(fs::create_dir_all(&from)),
        8 => drop(fs::set_permissions(
            &from,
            fs::Permissions::from_mode(if number.is_multiple_of(2) { 0o755 } else { 0o700 }),
        )),
        _ => drop(std::os::unix::fs::symlink(dice.pick(&["a", "d", "../top", "nowhere"]), &from)),
    }
}

#[test]
fn after_random_edits_the_image_is_that_of_a_clean_build() {
    let edits = std::env::var("KILN_SOAK").ok().and_then(|count| count.parse().ok()).unwrap_or(60);
    let project = Project::new(&[
        ("Dockerfile", "FROM scratch\nCOPY src/ /src/\nCOPY to* /\n"),
        (".dockerignore", "**/*.log\n"),
        ("src/a", "0"),
        ("top", "0"),
    ]);
    // Enough that one changed file is a small difference to the layer before.
    for number in 0..FILLING {
        project.write(&format!("src/filling/{number}"), "0");
    }
    for line in ["init -q", "add -A", "commit -qm first", "branch -q other"] {
        git(&project, line);
    }
    let kiln = timeless();
    let (mut watch, first) = Watch::start(&kiln, &project, &[]);
    let mut shown = first.images.last().cloned();
    let seed = std::env::var("KILN_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x9E37_79B9_7F4A_7C15).max(1));
    for number in 0..edits {
        edit(&project, &mut dice, number);
        std::thread::sleep(Duration::from_millis(dice.roll(40) as u64));
        // A quiet moment now and then, and at the end.
        if dice.roll(12) != 0 && number + 1 < edits {
            continue;
        }
        drop(fs::create_dir_all(project.at("src")));
        let round = watch.until_quiet(0);
        shown = round.images.last().cloned().or(shown);
        let clean = timeless().build([project.path()]);
        // A link that leads nowhere is no source: then the last round has failed too.
        if clean.ran.code == Some(0) {
            assert_eq!(shown.as_ref(), Some(&clean.image()), "after edit {number}: {round:?}");
        }
    }
    drop(fs::remove_file(project.at("src/link")));
    drop(fs::remove_file(project.at("src/d/link")));
    project.write("src/last", "1");
    assert_eq!(watch.until_quiet(1).images.last(), Some(&clean_image(&project)));
}
