//! Runs one command to its end: how long it took and how large it grew.

use crate::frame::{Result, Sample};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// Runs `command`; one that fails is an error with the end of what it said.
pub fn run(command: &mut Command) -> Result<Sample> {
    Ok(run_counted(command)?.0)
}

/// The same, with the processor time of the command and all that it waited for, in seconds.
pub fn run_counted(command: &mut Command) -> Result<(Sample, f64)> {
    let log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let started = Instant::now();
    let child = command.spawn().map_err(|error| format!("failed to start {command:?}: {error}"))?;
    let (status, resident, processor) = wait(child.id())?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{command:?} ended with {status}\n{}", tail(log)).into());
    }
    Ok((Sample { seconds, resident }, processor))
}

#[expect(unsafe_code, reason = "only wait4 says how large a child has been")]
fn wait(pid: u32) -> Result<(ExitStatus, u64, f64)> {
    let mut status = 0;
    // SAFETY: all zeroes is a valid value of this plain C structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child is ours and was not waited for; both pointers are valid for writing.
    let result = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage) };
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // Linux counts in KiB.
    let resident = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((ExitStatus::from_raw(status), resident, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

/// The last lines of what a failed command said.
fn tail(mut log: File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    let _ = log.rewind();
    let _ = log.read_to_string(&mut text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
