//! Makes the files that are built.

use crate::frame::Result;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of one directory of a large context.
const FILES_PER_DIRECTORY: usize = 100;

/// A root file system that holds busybox and a name for each of its applets.
pub fn busybox(root: &Path) -> Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let program = find_busybox().ok_or("busybox is not there (Debian: busybox-static); set KILN_BUSYBOX")?;
    fs::copy(&program, root.join("bin/busybox"))?;
    let applets = Command::new(&program).arg("--list").output()?;
    for name in String::from_utf8_lossy(&applets.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    Ok(())
}

fn find_busybox() -> Option<PathBuf> {
    let named = std::env::var_os("KILN_BUSYBOX").map(PathBuf::from);
    let peers = std::env::var_os("PEERS_DIR").map(|dir| Path::new(&dir).join("busybox/bin/busybox"));
    let usual = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    named.into_iter().chain(peers).chain(usual).find(|path| path.is_file())
}

/// A Dockerfile with this text, the base filled in for `BASE`.
pub fn dockerfile(context: &Path, text: &str) -> Result<()> {
    dockerfile_as(context, "Dockerfile", text)
}

/// The same with another name.
pub fn dockerfile_as(context: &Path, name: &str, text: &str) -> Result<()> {
    Ok(fs::write(context.join(name), text.replace("BASE", crate::lab::BASE))?)
}

/// The path of one of many small files below `dir`.
pub fn small_file(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("d{:03}/f{number:06}", number / FILES_PER_DIRECTORY))
}

/// Writes `count` files of about 50 to 250 bytes, all different, and others for another `salt`.
pub fn small_files(dir: &Path, count: usize, salt: u64) -> Result<()> {
    for number in 0..count {
        let path = small_file(dir, number);
        if number % FILES_PER_DIRECTORY == 0 {
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
        }
        fs::write(path, format!("file {number} of {salt}\n").repeat(2 + number % 7))?;
    }
    Ok(())
}

/// Writes a file of `megabytes` MiB that does not compress and is another for another `salt`.
pub fn large_file(path: &Path, megabytes: usize, salt: u64) -> Result<()> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0u8; 1 << 20];
    let mut file = fs::File::create(path)?;
    for _ in 0..megabytes {
        for word in block.chunks_exact_mut(8) {
            // xorshift64: fast, and no two blocks alike.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(())
}
