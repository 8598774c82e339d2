//! What the processes inside a sandbox tell the builder, over a pipe, in messages of one fixed length.

use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// What went wrong while the command's process was made ready; the number goes over the pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Descriptors,
    Workdir,
    User,
    Capabilities,
    Filter,
    Exec,
    Spawn,
}

const STAGES: [Stage; 7] =
    [Stage::Descriptors, Stage::Workdir, Stage::User, Stage::Capabilities, Stage::Filter, Stage::Exec, Stage::Spawn];

/// The longest text that goes with a failed operation, in bytes.
pub(super) const TEXT_BYTES: usize = 240;

/// The length of a message in bytes; below `PIPE_BUF`, so that it is written whole.
pub(super) const MESSAGE_BYTES: usize = 16 + TEXT_BYTES;

/// A text of the kernel's, kept where nothing may be allocated.
pub(super) struct Text {
    pub(super) bytes: [u8; TEXT_BYTES],
    pub(super) length: usize,
}

impl Text {
    pub(super) const fn empty() -> Self {
        Text { bytes: [0; TEXT_BYTES], length: 0 }
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// The operation of this index failed.
    Op { index: usize, errno: i32, text: String },
    /// The command's process could not be made ready.
    Launch { stage: Stage, errno: i32 },
    /// The command exited with a code.
    Exited(i32),
    /// The command was ended by a signal.
    Signalled(i32),
}

const OP: u32 = 1;
const LAUNCH: u32 = 2;
const EXITED: u32 = 3;
const SIGNALLED: u32 = 4;

/// Tells that an operation failed. Allocates nothing.
pub(super) fn send_op(to: BorrowedFd<'_>, index: usize, errno: Errno, text: &Text) -> Result<(), Errno> {
    send(to, OP, u32::try_from(index).unwrap_or(u32::MAX), errno.raw_os_error(), text)
}

/// Tells that the command's process could not be made ready. Allocates nothing.
pub(super) fn send_launch(to: BorrowedFd<'_>, stage: Stage, errno: Errno) -> Result<(), Errno> {
    send(to, LAUNCH, stage as u32, errno.raw_os_error(), &Text::empty())
}

/// Tells how the command ended. Allocates nothing.
pub(super) fn send_end(to: BorrowedFd<'_>, code: Option<i32>, signal: Option<i32>) -> Result<(), Errno> {
    match (code, signal) {
        (Some(code), _) => send(to, EXITED, 0, code, &Text::empty()),
        (None, signal) => send(to, SIGNALLED, 0, signal.unwrap_or(0), &Text::empty()),
    }
}

fn send(to: BorrowedFd<'_>, kind: u32, index: u32, value: i32, text: &Text) -> Result<(), Errno> {
    let mut message = [0; MESSAGE_BYTES];
    let length = u32::try_from(text.length).unwrap_or(0);
    let (head, body) = message.split_at_mut(16);
    let words = [kind, index, value.cast_unsigned(), length];
    for (bytes, word) in head.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    body.copy_from_slice(&text.bytes);
    rustix::io::write(to, &message).map(drop)
}

impl Report {
    /// Reads a message; `None` for what no sandbox sends.
    pub(super) fn decode(message: &[u8; MESSAGE_BYTES]) -> Option<Report> {
        let word = |at: usize| message.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (kind, index, value, length) = (word(0)?, word(4)? as usize, word(8)?.cast_signed(), word(12)? as usize);
        match kind {
            OP => {
                let text = String::from_utf8_lossy(message.get(16..16 + length)?).trim().to_owned();
                Some(Report::Op { index, errno: value, text })
            }
            LAUNCH => Some(Report::Launch { stage: *STAGES.get(index)?, errno: value }),
            EXITED => Some(Report::Exited(value)),
            SIGNALLED => Some(Report::Signalled(value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn through_a_pipe(send: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>) -> Option<Report> {
        let (from, to) = rustix::pipe::pipe().unwrap();
        send(to.as_fd()).unwrap();
        let mut message = [0; MESSAGE_BYTES];
        assert_eq!(rustix::io::read(&from, &mut message).unwrap(), MESSAGE_BYTES);
        Report::decode(&message)
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let mut text = Text::empty();
        text.bytes[..5].copy_from_slice(b"e no\n");
        text.length = 5;
        let op = through_a_pipe(|to| send_op(to, 7, Errno::PERM, &text));
        assert_eq!(op, Some(Report::Op { index: 7, errno: libc::EPERM, text: "e no".into() }));
        for stage in STAGES {
            let launch = through_a_pipe(|to| send_launch(to, stage, Errno::NOENT));
            assert_eq!(launch, Some(Report::Launch { stage, errno: libc::ENOENT }));
        }
        assert_eq!(through_a_pipe(|to| send_end(to, Some(3), None)), Some(Report::Exited(3)));
        assert_eq!(through_a_pipe(|to| send_end(to, None, Some(9))), Some(Report::Signalled(9)));
        assert_eq!(Report::decode(&[0xff; MESSAGE_BYTES]), None);
    }
}
