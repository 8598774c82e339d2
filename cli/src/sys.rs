//! The things that only the system can do: catch signals, say how large the terminal is, take memory back.
//!
//! The only file of this crate with `unsafe`. Knows nothing of builds.

use crate::render::screen::Size;
use kiln_engine::api::Cancel;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Lists from this size on get pages of their own, which go back to the system with them, in bytes.
#[cfg(target_env = "gnu")]
const OWN_PAGES_BYTES: c_int = 256 << 10;

/// Fixes from which size on allocations get pages of their own. glibc raises that bound with every large
/// one that is freed; the lists of a large context would then leave holes that stay resident.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES);
    }
}

/// What the signal handler uses; a handler has no other way to be given a value.
static INTERRUPT: OnceLock<Cancel> = OnceLock::new();

/// The signals that stop a build in good order.
const STOPPING: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// From now on the first stopping signal uses the returned handle, and the second ends the program
/// at once with status 130. No thread is needed for it.
pub fn catch_interrupts() -> io::Result<Cancel> {
    let cancel = match INTERRUPT.get() {
        Some(cancel) => cancel.clone(),
        None => {
            let cancel = Cancel::new()?;
            INTERRUPT.get_or_init(|| cancel).clone()
        }
    };
    for signal in STOPPING {
        // SAFETY: `sigaction` is plain data for which all zeroes is a valid value.
        let mut before: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: a null new action only reads the present one into `before`, which is valid for writing.
        if unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // `nohup kiln build` and a shell's background job want the signal ignored.
        if before.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        let handler: extern "C" fn(c_int) = on_signal;
        let mut action = before;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: both pointers are to valid actions, and the handler does only what a handler may do.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(cancel)
}

/// From now on Ctrl-C and Ctrl-\ are the command's that has the terminal; a termination signal uses the returned
/// handle, and the second ends the program.
pub fn leave_terminal_to_command() -> io::Result<Cancel> {
    let cancel = catch_interrupts()?;
    // SIGTTOU comes when a program in the background takes the terminal back.
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTTOU] {
        // SAFETY: ignoring a signal has no precondition.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(cancel)
}

/// Makes this program the terminal's foreground again, if standard input is a terminal.
pub fn take_terminal_back() {
    // Without a terminal there is nothing to take.
    let _ = rustix::termios::tcsetpgrp(io::stdin(), rustix::process::getpgrp());
}

/// Runs inside of whatever was interrupted: an atomic, a `write` and `_exit`, nothing else.
extern "C" fn on_signal(_signal: c_int) {
    if !INTERRUPT.get().is_some_and(Cancel::cancel) {
        // SAFETY: `_exit` may be called from a signal handler and does not return.
        unsafe { libc::_exit(130) }
    }
}

/// The size of the terminal that standard error is, or 80 × 24 where it says none.
pub fn terminal_size() -> Size {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    let cells = |count: u16, default: usize| if count == 0 { default } else { usize::from(count) };
    Size { columns: cells(size.map_or(0, |s| s.ws_col), 80), rows: cells(size.map_or(0, |s| s.ws_row), 24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_uses_the_handle_and_the_program_goes_on() {
        let cancel = catch_interrupts().unwrap();
        assert!(!cancel.is_cancelled());
        // SAFETY: the signal is caught, and `raise` has no other precondition.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        assert!(cancel.is_cancelled());
    }

    #[test]
    #[ignore = "ends its own process: run by the test below"]
    fn raises_twice() {
        catch_interrupts().unwrap();
        for _ in 0..2 {
            // SAFETY: the signal is caught, and `raise` has no other precondition.
            unsafe { libc::raise(libc::SIGTERM) };
        }
    }

    #[test]
    fn the_second_signal_ends_the_program_with_130() {
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new(program)
            .args(["--ignored", "--exact", "sys::tests::raises_twice"])
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(130));
    }
}
