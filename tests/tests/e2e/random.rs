//! Random trees, random scripts of file commands, random edits: what a traced rebuild makes must be what a build
//! from nothing makes, byte for byte.
//!
//! A fixed seed in every run; `KILN_RANDOM_ROUNDS` and `KILN_RANDOM_SEED` ask for more and for others.

use kiln_tests::{Kiln, Project};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How many scripts, each a stage, one build has: a round is one script after one edit.
const STAGES: usize = 10;
/// How many edits one project sees.
const EDITS: usize = 5;

/// SplitMix64: a stream of numbers that a seed decides.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn path(&mut self) -> String {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let depth = 1 + self.below(3);
        (0..depth).map(|_| NAMES[self.below(NAMES.len())]).collect::<Vec<_>>().join("/")
    }

    /// A path of a command, a third of them below where a mount may be.
    fn seen(&mut self) -> String {
        let path = self.path();
        match self.below(6) {
            0 => format!("m/{path}"),
            1 => format!("m/made/{path}"),
            _ => path,
        }
    }

    /// One command on one or two paths. What it says goes to the layer, so that all it learnt counts.
    fn command(&mut self) -> String {
        let (one, two) = (self.seen(), self.seen());
        match self.below(24) {
            0 => format!("cat {one}"),
            1 => format!("ls {one}"),
            2 => format!("test -e {one}"),
            3 => format!("test -d {one}"),
            4 => format!("stat -c '%F %a %s %u' {one} | grep -v directory"),
            5 => format!("readlink {one}"),
            6 => format!("mv {one} {two}"),
            7 => format!("rm {one}"),
            8 => format!("rm -rf {one}"),
            9 => format!("mkdir {one}"),
            10 => format!("rmdir {one}"),
            11 => format!("ln {one} {two}"),
            12 => format!("ln -s /w/{one} {two}"),
            13 => format!("echo {} >> {one}", self.below(9)),
            14 => format!("echo {} > {one}", self.below(9)),
            15 => format!("chmod {} {one}", ["600", "644", "755"][self.below(3)]),
            16 => format!("cp {one} {two}"),
            // To a place of its own: what a copy into itself makes follows from the order of a listing, which a
            // step that is watched sees sorted.
            17 => format!("cp -r {one} made"),
            18 => format!("find {one} | sort"),
            19 => format!("grep -r 1 {one} | sort"),
            20 => format!("touch {one}"),
            21 => format!("(cd {one} && cat ../{two})"),
            22 => format!("chown {} {one}", self.below(3)),
            _ => format!("cat {one}/../{two}"),
        }
    }

    fn edit(&mut self) -> String {
        let (one, two) = (self.path(), self.path());
        let make = format!("mkdir -p $(dirname {one})");
        match self.below(8) {
            0 => format!("rm -rf {one}"),
            1 => format!("mv {one} {two}"),
            2 => format!("chmod {} {one}", ["600", "644", "755"][self.below(3)]),
            3 => format!("{make}; ln -sfn /w/{two} {one}"),
            4 => format!("mkdir -p {one}"),
            _ => format!("{make}; echo {} > {one}", self.below(4)),
        }
    }
}

/// Runs a command of a shell that may fail, as edits of what is not there do.
fn sh(directory: &Path, script: &str) {
    let _ran = Command::new("sh").arg("-c").arg(script).current_dir(directory).output().unwrap();
}

/// Sometimes a mount of the same tree, from the context or from a stage, and one within it.
fn mounts(random: &mut Random) -> String {
    let mut text = String::new();
    for target in ["/w/m", "/w/m/made"].into_iter().take(random.below(5).saturating_sub(2)) {
        let from = ["source=tree", "from=all,source=/t"][random.below(2)];
        let write = [",rw", ""][random.below(2)];
        let _ = write!(text, "--mount=type=bind,{from},target={target}{write} ");
    }
    text
}

fn dockerfile(random: &mut Random) -> String {
    let mut text = "FROM scratch AS all\nCOPY tree /t\n".to_owned();
    for stage in 0..STAGES {
        let mounts = mounts(random);
        let _ = writeln!(
            text,
            "FROM kiln/host AS s{stage}\nWORKDIR /w\nCOPY tree /w\nRUN {mounts}exec > /out 2>&1; : {stage}; \\"
        );
        for _ in 0..2 + random.below(5) {
            let _ = writeln!(text, "  {}; echo $?; \\", random.command());
        }
        text.push_str("  true\n");
        // What is there afterwards counts as much as what was said.
        text.push_str("RUN find /w -printf '%P %y %m %U %l ' -exec sh -c 'test -f \"$1\" && cat \"$1\"; echo' - '{}' ';' | sort > /end\n");
    }
    text.push_str("FROM scratch\n");
    for stage in 0..STAGES {
        let _ = writeln!(text, "COPY --from=s{stage} /out /end /{stage}/\nCOPY --from=s{stage} /w /{stage}/w");
    }
    text
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_traced_rebuild_is_a_clean_build_byte_for_byte() {
    let rounds = number("KILN_RANDOM_ROUNDS", (STAGES * EDITS) as u64);
    let seed = number("KILN_RANDOM_SEED", 1);
    let (mut tried, mut traced) = (0, 0);
    let mut project_seed = seed;
    while tried < rounds {
        let mut random = Random(project_seed);
        // Times are no content.
        let kiln = Kiln::new().env("SOURCE_DATE_EPOCH", "1");
        let project = Project::new(&[(".dockerignore", "Dockerfile\n"), ("Dockerfile", &dockerfile(&mut random))]);
        let tree = project.at("tree");
        fs::create_dir(&tree).unwrap();
        (0..12).for_each(|_| sh(&tree, &random.edit()));
        let _first = kiln.build([project.path()]).ok();
        for edit in 0..EDITS {
            let commands: Vec<String> = (0..1 + random.below(2)).map(|_| random.edit()).collect();
            commands.iter().for_each(|command| sh(&tree, command));
            let rebuilt = kiln.build([project.path()]).ok();
            let clean = Kiln::new().env("SOURCE_DATE_EPOCH", "1");
            let expected = clean.build(["--trace=off".as_ref(), project.path().as_os_str()]).ok();
            let verdicts = rebuilt.verdicts();
            traced += verdicts.iter().filter(|line| line.contains(": ") && line.ends_with("hit (traced)")).count();
            assert_eq!(
                rebuilt.image(),
                expected.image(),
                "seed {project_seed}, edit {edit} {commands:?}\n{verdicts:#?}\n{}",
                fs::read_to_string(project.at("Dockerfile")).unwrap()
            );
            tried += STAGES as u64;
        }
        project_seed = project_seed.wrapping_mul(31).wrapping_add(7);
    }
    eprintln!("{tried} rounds from seed {seed}, {traced} steps were skipped by their traces");
    assert!(traced > 0, "nothing was skipped, so nothing was tried");
}
