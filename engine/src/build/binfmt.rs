//! Whether this machine can run another platform's programs: natively, or by an interpreter that the kernel knows.
//!
//! An interpreter counts only with the flag `F`, with which the kernel opened it when it was registered: inside a step's
//! root it could not be found. Formats: the kernel's documentation, "binfmt-misc".

use super::File;
use crate::api::BuildError;
use crate::plan::{Plan, StepKind};
use kiln_dsl::platform::Platform;
use std::path::Path;

/// Where the kernel shows what is registered.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// The ELF header of each architecture: class (1 is 32 bits), byte order (1 is little-endian) and machine.
const MACHINES: [(&str, u8, u8, u16); 11] = [
    ("386", 1, 1, 3),
    ("amd64", 2, 1, 62),
    ("arm", 1, 1, 40),
    ("arm64", 2, 1, 183),
    ("loong64", 2, 1, 258),
    ("mips64le", 2, 1, 8),
    ("mips64", 2, 2, 8),
    ("ppc64le", 2, 1, 21),
    ("ppc64", 2, 2, 21),
    ("riscv64", 2, 1, 243),
    ("s390x", 2, 2, 22),
];

/// An error for the first command of a platform whose programs cannot run here.
pub(super) fn check(plan: &Plan, file: &File) -> Result<(), BuildError> {
    let host = Platform::host();
    for (_, step) in plan.graph.nodes() {
        let StepKind::Run(run) = &step.kind else { continue };
        if is_native(&host, &run.platform) || is_registered(Path::new(REGISTERED), &run.platform) {
            continue;
        }
        let shown = &plan.shown[step.shown];
        let line = file.line(shown.span);
        return Err(BuildError::Platform {
            platform: run.platform.to_string(),
            reason: format!(
                "{} ({line}) runs its programs, and this machine ({host}) can run them neither by itself nor by an \
                 emulator: register qemu-user with binfmt_misc (flag F), or build in FROM --platform=$BUILDPLATFORM",
                shown.name
            ),
        });
    }
    Ok(())
}

/// Whether the processor itself runs the platform's programs.
pub(super) fn is_native(host: &Platform, platform: &Platform) -> bool {
    platform.os == host.os && (platform.arch == host.arch || (host.arch == "amd64" && platform.arch == "386"))
}

/// Whether an interpreter for the platform is registered in the directory `registered`.
fn is_registered(registered: &Path, platform: &Platform) -> bool {
    let Some((_, class, order, machine)) = MACHINES.iter().find(|one| one.0 == platform.arch) else { return false };
    if platform.os != "linux" {
        return false;
    }
    let header = |kind: u16| {
        let two = |number: u16| if *order == 1 { number.to_le_bytes() } else { number.to_be_bytes() };
        let start = [0x7f, b'E', b'L', b'F', *class, *order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        [&start[..], &two(kind), &two(*machine)].concat()
    };
    let entries = std::fs::read_dir(registered).into_iter().flatten().flatten();
    let mut formats = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    // Programs are of the kinds ET_EXEC and ET_DYN.
    formats.any(|format| [2, 3].iter().all(|kind| takes(&format, &header(*kind))))
}

/// Whether a registered format takes programs that begin with `header`, wherever its interpreter is.
fn takes(format: &str, header: &[u8]) -> bool {
    let field = |name: &str| format.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let bytes = |text: &str| -> Option<Vec<u8>> {
        let digits = text.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let is_enabled = format.lines().next() == Some("enabled");
    let is_fixed = field("flags:").is_some_and(|flags| flags.contains('F'));
    let (Some(magic), Some("0")) = (field("magic").and_then(bytes), field("offset")) else { return false };
    let mask = field("mask").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
    let matches = magic.iter().zip(&mask).zip(header).all(|((magic, mask), byte)| byte & mask == magic & mask);
    is_enabled && is_fixed && magic.len() <= header.len() && matches
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OCF\noffset 0\n\
                           magic 7f454c460201010000000000000000000200b700\n\
                           mask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn runs(format: &str, platform: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("one"), format).unwrap();
        std::fs::write(dir.path().join("status"), "enabled\n").unwrap();
        is_registered(dir.path(), &Platform::parse(platform).unwrap())
    }

    #[test]
    fn an_interpreter_counts_for_its_machine_and_only_if_it_was_opened_beforehand() {
        assert!(runs(AARCH64, "linux/arm64"));
        assert!(!runs(AARCH64, "linux/arm/v7"));
        assert!(!runs(AARCH64, "linux/riscv64"));
        assert!(!runs(AARCH64, "windows/arm64"));
        assert!(!runs(&AARCH64.replace("OCF", "OC"), "linux/arm64"));
        assert!(!runs(&AARCH64.replace("enabled", "disabled"), "linux/arm64"));
        assert!(!runs("garbage", "linux/arm64"));
        assert!(!is_registered(Path::new("/does/not/exist"), &Platform::parse("linux/arm64").unwrap()));
    }

    #[test]
    fn a_processor_runs_its_own_programs() {
        let platform = |text: &str| Platform::parse(text).unwrap();
        assert!(is_native(&platform("linux/amd64"), &platform("linux/amd64")));
        assert!(is_native(&platform("linux/amd64"), &platform("linux/386")));
        assert!(!is_native(&platform("linux/arm64"), &platform("linux/amd64")));
    }
}
