//! The table of speeds: what a developer waits for.

use super::build::{Before, BuildRow};
use crate::context::{dockerfile, large_file, small_file, small_files};
use crate::frame::{Bound, Result, Section};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Small files of the large context.
const FILES: usize = 20_000;

/// The section.
pub fn section() -> Section {
    Section {
        name: "speed",
        title: "Speed",
        intro: "Whole processes, from the start of the command to its end, each with its result in the tool's own \
                store under a tag. Before each round the context is changed as the row says, once for all tools.",
        rows: ROWS.into_iter().map(Into::into).collect(),
    }
}

const ROWS: [BuildRow; 9] = [
    BuildRow {
        name: "unchanged",
        work: "nothing changed, 6 instructions",
        rounds: 15,
        bound: Some(Bound::Seconds(0.010)),
        make: six_instructions,
        before: Before::Nothing,
        salted: false,
        floor: "exec true",
        peers: true,
    },
    BuildRow {
        name: "unchanged-20000",
        work: "nothing changed, COPY of 20,000 files",
        rounds: 9,
        bound: Some(Bound::Seconds(0.050)),
        make: many_files,
        before: Before::Nothing,
        salted: false,
        floor: "find $CONTEXT -printf '%p %s %T@ %C@ %i\\n' > /dev/null",
        peers: true,
    },
    BuildRow {
        name: "edit-1-of-20000",
        work: "one of those 20,000 edited, then RUN cat",
        rounds: 7,
        bound: Some(Bound::Seconds(0.090)),
        make: many_files_and_run,
        before: Before::Edit(edit_one),
        salted: false,
        floor: "find $CONTEXT -printf '%p %s %T@ %C@ %i\\n' > /dev/null",
        peers: true,
    },
    BuildRow {
        name: "unread-edit",
        work: "edit of a file that a 2 s RUN never reads",
        rounds: 5,
        bound: Some(Bound::Seconds(0.050)),
        make: slow_run,
        before: Before::Edit(edit_unread),
        salted: false,
        floor: "exec true",
        peers: true,
    },
    BuildRow {
        name: "run-true-20",
        work: "20 × RUN true, uncached",
        rounds: 7,
        bound: Some(Bound::Seconds(0.120)),
        make: twenty_runs,
        before: Before::Nothing,
        salted: true,
        floor: "for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do unshare -mpiuf chroot $ROOTFS /bin/true; done",
        peers: true,
    },
    BuildRow {
        name: "stages-8",
        work: "8 stages of sleep 1, then 8 COPY --from",
        rounds: 5,
        bound: Some(Bound::Seconds(1.100)),
        make: eight_stages,
        before: Before::Nothing,
        salted: true,
        floor: "exec sleep 1",
        peers: true,
    },
    BuildRow {
        name: "copy-20000",
        work: "COPY of 20,000 new files",
        rounds: 5,
        bound: Some(Bound::Seconds(0.600)),
        make: many_files,
        before: Before::Renew,
        salted: false,
        floor: "cp -r $CONTEXT/files $OUT",
        peers: true,
    },
    BuildRow {
        name: "copy-256mb",
        work: "COPY of 256 MB in 4 files",
        rounds: 5,
        bound: Some(Bound::Seconds(0.450)),
        make: large_files,
        before: Before::Renew,
        salted: false,
        floor: "cp -r $CONTEXT/files $OUT",
        peers: true,
    },
    BuildRow {
        name: "run-10000",
        work: "RUN that writes 10,000 files",
        rounds: 7,
        bound: Some(Bound::TimesFloor(1.3)),
        make: writing_run,
        before: Before::Nothing,
        salted: true,
        // On a bare overlay, as whatever keeps layers apart has to run it.
        floor: "mkdir -p $OUT/u $OUT/w $OUT/m && exec unshare -m sh -c 'mount -t overlay overlay \
                -o lowerdir=$ROOTFS,upperdir=$OUT/u,workdir=$OUT/w $OUT/m && SALT=1 exec chroot $OUT/m /bin/sh -c \
                \"mkdir /d && i=0; while [ \\$i -lt 10000 ]; do echo \\$SALT.\\$i > /d/\\$i; i=\\$((i+1)); done\"'",
        peers: true,
    },
];

fn six_instructions(context: &Path, _: u64) -> Result<()> {
    fs::create_dir(context.join("src"))?;
    fs::write(context.join("src/main"), "main\n")?;
    fs::write(context.join("package"), "package\n")?;
    dockerfile(
        context,
        "FROM BASE\nWORKDIR /app\nCOPY package .\nRUN cp package lock\nCOPY src src\nRUN cat src/main > out\n",
    )
}

fn many_files(context: &Path, salt: u64) -> Result<()> {
    small_files(&context.join("files"), FILES, salt)?;
    dockerfile(context, "FROM BASE\nCOPY files /files\n")
}

fn many_files_and_run(context: &Path, salt: u64) -> Result<()> {
    small_files(&context.join("files"), FILES, salt)?;
    dockerfile(context, "FROM BASE\nCOPY files /files\nRUN cat /files/d070/f007000 > /out\n")
}

fn edit_one(context: &Path, salt: u64) -> Result<()> {
    Ok(fs::write(small_file(&context.join("files"), 7_000), format!("edited {salt}\n"))?)
}

fn slow_run(context: &Path, _: u64) -> Result<()> {
    fs::write(context.join("read"), "read\n")?;
    fs::write(context.join("unread"), "unread\n")?;
    dockerfile(context, "FROM BASE\nWORKDIR /app\nCOPY . .\nRUN sleep 2 && cat read > /out\n")
}

fn edit_unread(context: &Path, salt: u64) -> Result<()> {
    Ok(fs::write(context.join("unread"), format!("edited {salt}\n"))?)
}

fn twenty_runs(context: &Path, _: u64) -> Result<()> {
    // Twenty commands, not one twenty times: the second of the same kind would be found by what the first read.
    let commands: String = (1..=20).map(|number| format!("RUN true {number}\n")).collect();
    dockerfile(context, &format!("FROM BASE\nARG SALT\n{commands}"))
}

fn eight_stages(context: &Path, _: u64) -> Result<()> {
    let mut text = String::new();
    for stage in 0..8 {
        writeln!(text, "FROM BASE AS s{stage}\nARG SALT\nRUN sleep 1 && echo {stage} $SALT > /out{stage}")?;
    }
    text.push_str("FROM BASE\n");
    for stage in 0..8 {
        writeln!(text, "COPY --from=s{stage} /out{stage} /out{stage}")?;
    }
    dockerfile(context, &text)
}

fn large_files(context: &Path, salt: u64) -> Result<()> {
    fs::create_dir(context.join("files"))?;
    (0..4).try_for_each(|number| large_file(&context.join(format!("files/{number}")), 64, salt + number))?;
    dockerfile(context, "FROM BASE\nCOPY files /files\n")
}

fn writing_run(context: &Path, _: u64) -> Result<()> {
    let text = "FROM BASE\nARG SALT\nRUN mkdir /d && i=0; while [ $i -lt 10000 ]; do echo $SALT.$i > /d/$i; i=$((i+1)); done\n";
    dockerfile(context, text)
}
