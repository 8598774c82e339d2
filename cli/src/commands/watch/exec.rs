//! The host's command that follows each good build: one at a time, ended with all its children.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a command has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The command that runs, if one does.
#[derive(Debug, Default)]
pub struct Command {
    child: Option<Child>,
}

impl Command {
    /// Ends the one that runs and starts `line` by the shell.
    pub fn start(&mut self, line: &str, image: &str, changed: &[String]) -> io::Result<()> {
        self.stop();
        let mut command = std::process::Command::new("/bin/sh");
        let command = command.args(["-c", line]).stdin(Stdio::null()).process_group(0);
        let command = command.env("KILN_IMAGE", image).env("KILN_CHANGED", changed.join("\n"));
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits for the one that runs; says whether it succeeded. None succeeds.
    pub fn wait(&mut self) -> bool {
        self.child.take().is_none_or(|mut child| child.wait().is_ok_and(|status| status.success()))
    }

    /// Ends the one that runs with all that it has started: SIGTERM, and SIGKILL for what does not listen.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let send = |signal| {
            if let Some(group) = group {
                // Nobody may be left in it.
                let _ = kill_process_group(group, signal);
            }
        };
        if !matches!(child.try_wait(), Ok(Some(_))) {
            send(Signal::TERM);
            let since = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && since.elapsed() < GRACE {
                std::thread::sleep(LOOK);
            }
        }
        send(Signal::KILL);
        let _ended = child.wait();
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_sees_the_image_and_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut command = Command::default();
        let line = format!("printf '%s|%s' \"$KILN_IMAGE\" \"$KILN_CHANGED\" > {}; false", out.display());
        command.start(&line, "app:latest", &["a".to_owned(), "b c".to_owned()]).unwrap();
        assert!(!command.wait());
        assert_eq!(std::fs::read_to_string(out).unwrap(), "app:latest|a\nb c");
        assert!(command.wait(), "none runs");
    }

    #[test]
    fn a_command_ends_with_its_children_when_the_next_one_starts() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let mut command = Command::default();
        command.start(&format!("sleep 60 & echo $! > {}; wait", pids.display()), "", &[]).unwrap();
        let since = Instant::now();
        while !std::fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')) {
            assert!(since.elapsed() < Duration::from_secs(10));
            std::thread::sleep(LOOK);
        }
        command.start("true", "", &[]).unwrap();
        let pid = std::fs::read_to_string(&pids).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // Gone, or a corpse that nobody has collected yet.
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }
}
