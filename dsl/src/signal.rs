//! The names of Linux signals that STOPSIGNAL takes.
//!
//! Knows nothing of sending them.

/// A signal that Linux does not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(pub String);

const NAMES: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Whether `text` is a signal: a number other than 0, or a name in any case, with `SIG` before it or not.
///
/// # Errors
/// Names the text that is none.
pub fn validate(text: &str) -> Result<(), SignalError> {
    let valid = match text.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => {
            let upper = text.to_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            NAMES.contains(&name) || real_time(name)
        }
    };
    if valid { Ok(()) } else { Err(SignalError(text.to_owned())) }
}

/// `RTMIN`, `RTMIN+1` to `RTMIN+15`, `RTMAX-14` to `RTMAX-1`, `RTMAX`.
fn real_time(name: &str) -> bool {
    let within = |digits: &str, most: u32| {
        !digits.starts_with(['0', '+']) && digits.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n))
    };
    matches!(name, "RTMIN" | "RTMAX")
        || name.strip_prefix("RTMIN+").is_some_and(|n| within(n, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|n| within(n, 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for text in ["SIGTERM", "term", "sigKill", "9", "RTMIN+15", "SIGRTMAX-1", "37"] {
            assert_eq!(validate(text), Ok(()), "{text}");
        }
        for text in ["", "SIG", "0", "SIGFOO", "RTMIN+16", "RTMIN+01", "RTMAX-15", "SIGSIGTERM"] {
            assert!(validate(text).is_err(), "{text}");
        }
    }
}
