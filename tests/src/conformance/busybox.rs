//! A base image for golden results: Debian's static busybox and the few files that programs ask for, as a
//! docker archive that has what `docker import` gives.
//!
//! Knows nothing of cases.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use std::process::Command;

/// Where the package `busybox-static` puts its program.
pub const PROGRAM: &str = "/bin/busybox";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Writes the archive.
pub fn write(archive: &Path) -> io::Result<()> {
    let layer = layer()?;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let config = json!({
        "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": {},
        "created": "2024-01-01T00:00:00Z",
        "history": [{ "created": "2024-01-01T00:00:00Z", "comment": "Imported from -" }],
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&layer)))] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["busybox:latest"], "Layers": ["layer.tar"] }]);
    let mut builder = tar::Builder::new(std::fs::File::create(archive)?);
    append(&mut builder, "config.json", tar::EntryType::Regular, 0o644, config.to_string().as_bytes())?;
    append(&mut builder, "layer.tar", tar::EntryType::Regular, 0o644, &layer)?;
    append(&mut builder, "manifest.json", tar::EntryType::Regular, 0o644, manifest.to_string().as_bytes())?;
    builder.into_inner().map(drop)
}

fn layer() -> io::Result<Vec<u8>> {
    let program = std::fs::read(PROGRAM)?;
    let mut builder = tar::Builder::new(Vec::new());
    for dir in ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"] {
        let mode = if dir == "tmp" { 0o1777 } else { 0o755 };
        append(&mut builder, &format!("{dir}/"), tar::EntryType::Directory, mode, b"")?;
    }
    append(&mut builder, "bin/busybox", tar::EntryType::Regular, 0o755, &program)?;
    append(&mut builder, "etc/passwd", tar::EntryType::Regular, 0o644, PASSWD.as_bytes())?;
    append(&mut builder, "etc/group", tar::EntryType::Regular, 0o644, GROUP.as_bytes())?;
    let listed = Command::new(PROGRAM).arg("--list").output()?;
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        builder.append_link(&mut header, format!("bin/{name}"), "/bin/busybox")?;
    }
    builder.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_704_067_200);
    header
}

fn append<W: io::Write>(
    builder: &mut tar::Builder<W>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, content.len());
    builder.append_data(&mut header, path, content)
}
