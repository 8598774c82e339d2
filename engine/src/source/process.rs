//! Runs a program of the host and collects what it prints; stopping the build stops it.
//!
//! Knows nothing of git. The program's environment is what the caller gives, and nothing else.

use crate::cancel::Cancel;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

/// What is kept of what a program prints, in bytes; the rest is read and dropped.
const OUTPUT_MAX_BYTES: usize = 4 << 20;

/// How a program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs `command` and all that it starts; `None` where the build was stopped, and they with it.
pub(super) fn run(command: &mut Command, cancel: &Cancel) -> io::Result<Option<Ended>> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    let collected = collect(&mut child, cancel);
    if !matches!(collected, Ok(Some(_))) {
        // It may have ended already.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let status = child.wait()?;
    Ok(collected?.map(|[stdout, stderr]| Ended { status, stdout, stderr }))
}

/// What the program prints until it closes both pipes.
fn collect(child: &mut Child, cancel: &Cancel) -> io::Result<Option<[Vec<u8>; 2]>> {
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("a program was started without its pipes"));
    };
    let mut taken = [Vec::new(), Vec::new()];
    let mut open = [true, true];
    while open.contains(&true) {
        let ready = wait_for([stdout.as_fd(), stderr.as_fd()], open, cancel)?;
        if cancel.is_cancelled() {
            return Ok(None);
        }
        if ready[0] {
            open[0] = take(&mut stdout, &mut taken[0])?;
        }
        if ready[1] {
            open[1] = take(&mut stderr, &mut taken[1])?;
        }
    }
    Ok(Some(taken))
}

/// Waits until one of the open pipes has something or is closed, or the build is stopped.
fn wait_for(pipes: [BorrowedFd<'_>; 2], open: [bool; 2], cancel: &Cancel) -> io::Result<[bool; 2]> {
    let asked: Vec<usize> = (0..2).filter(|index| open[*index]).collect();
    let mut polled: Vec<_> = asked.iter().map(|index| PollFd::from_borrowed_fd(pipes[*index], PollFlags::IN)).collect();
    polled.push(PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN));
    match poll(&mut polled, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; 2]),
        Err(errno) => return Err(errno.into()),
    }
    let mut ready = [false; 2];
    for (index, fd) in asked.iter().zip(&polled) {
        ready[*index] = !fd.revents().is_empty();
    }
    Ok(ready)
}

/// Takes what is there; says whether more may come.
fn take(pipe: &mut impl Read, taken: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    let count = match pipe.read(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        other => other?,
    };
    let room = OUTPUT_MAX_BYTES.saturating_sub(taken.len());
    taken.extend_from_slice(&buffer[..count.min(room)]);
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn both_outputs_and_the_status_are_collected() {
        let cancel = Cancel::new().unwrap();
        let ended = run(Command::new("/bin/sh").args(["-c", "echo out; echo err >&2; exit 3"]), &cancel).unwrap();
        let ended = ended.unwrap();
        assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn a_program_and_its_children_end_with_the_build() {
        let cancel = Cancel::new().unwrap();
        let started = Instant::now();
        let stop = cancel.clone();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.cancel();
        });
        // The shell's child holds the pipes too.
        let ended = run(Command::new("/bin/sh").args(["-c", "sleep 60; true"]), &cancel).unwrap();
        assert!(ended.is_none());
        assert!(started.elapsed() < Duration::from_secs(30));
        stopper.join().unwrap();
    }
}
