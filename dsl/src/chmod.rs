//! Modes as `--chmod` takes them: `0755`, `u=rwX,go=rX`.
//!
//! The symbolic notation is that of setmode(3) with an umask of 0. Knows nothing of files.

use std::fmt;

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
/// All bits that `a` stands for: sticky is nobody's.
const STANDARD: u32 = 0o6777;
/// All bits that a mode can set.
const ALL: u32 = 0o7777;
const EXECUTE: u32 = 0o111;

/// Text that is no mode.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModeError {
    /// An octal number with bits beyond 07777.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    OutOfRange(String),
    /// Neither octal nor symbolic.
    #[error("invalid chmod parameter: '{0}'")]
    Syntax(String),
}

/// A mode to set, or changes to make to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mode {
    changes: Vec<Change>,
    /// As it was written.
    text: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Clear(u32),
    Set(u32),
    /// Set where the file was executable before, or is a directory.
    SetIfExecutable(u32),
    /// Copy the three bits at `shift` to the places in `into`, as `operator` says.
    Copy {
        shift: u32,
        into: u32,
        operator: u8,
    },
}

impl Mode {
    /// Reads an octal number up to 07777 or a list of symbolic changes.
    ///
    /// # Errors
    /// On anything else, the empty text included.
    pub fn parse(text: &str) -> Result<Mode, ModeError> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let syntax = || ModeError::Syntax(text.to_owned());
            let bits = u32::from_str_radix(text, 8).map_err(|_| syntax())?;
            if bits > ALL {
                return Err(ModeError::OutOfRange(text.to_owned()));
            }
            return Ok(Mode { changes: vec![Change::Clear(ALL), Change::Set(bits)], text: text.into() });
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            symbolic(clause, &mut changes).ok_or_else(|| ModeError::Syntax(text.to_owned()))?;
        }
        Ok(Mode { changes, text: text.into() })
    }

    /// The mode that it sets, where it does not depend on the mode before: an octal number.
    pub fn octal(&self) -> Option<u32> {
        match self.changes.as_slice() {
            [Change::Clear(ALL), Change::Set(bits)] => Some(*bits),
            _ => None,
        }
    }

    /// The mode of a file that had `current`; bits beyond 07777 (its type) stay.
    pub fn apply(&self, current: u32, is_dir: bool) -> u32 {
        let mut mode = current & ALL;
        for &change in &self.changes {
            match change {
                Change::Clear(bits) => mode &= !bits,
                Change::Set(bits) => mode |= bits,
                Change::SetIfExecutable(bits) => {
                    if is_dir || current & EXECUTE != 0 {
                        mode |= bits;
                    }
                }
                Change::Copy { shift, into, operator } => {
                    let source = (((mode >> shift) & 0o7) * 0o111) & into;
                    mode = match operator {
                        b'+' => mode | source,
                        b'-' => mode & !source,
                        _ => (mode & !into) | source,
                    };
                }
            }
        }
        (current & !ALL) | mode
    }
}

/// An octal number as `0755` however it was written, anything else as it was.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.octal() {
            Some(bits) => write!(f, "{bits:04o}"),
            None => f.write_str(&self.text),
        }
    }
}

/// Reads `[ugoa]*([+-=][rwxXstugo]*)+`.
fn symbolic(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let operators_at = clause.find(|c| !matches!(c, 'u' | 'g' | 'o' | 'a'))?;
    let (classes, mut rest) = clause.split_at(operators_at);
    let who = classes.bytes().fold(0, |who, class| {
        who | match class {
            b'u' => SET_USER | 0o700,
            b'g' => SET_GROUP | 0o070,
            b'o' => 0o007,
            _ => STANDARD,
        }
    });
    while let Some(operator @ (b'+' | b'-' | b'=')) = rest.bytes().next() {
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        action(operator, who, &rest[1..end], changes)?;
        rest = &rest[end..];
    }
    rest.is_empty().then_some(())
}

/// One operator with its permissions, for the classes `who` (0 if none is written: then all).
fn action(operator: u8, mut who: u32, permissions: &str, changes: &mut Vec<Change>) -> Option<()> {
    let everyone = who == 0;
    let (mut bits, mut conditional, mut cleared) = (0, 0, operator != b'=');
    let mut flush = |bits: &mut u32, conditional: &mut u32, who: u32, last: bool, changes: &mut Vec<Change>| {
        let scope = if everyone { ALL } else { who };
        if !cleared && (*bits != 0 || last) {
            changes.push(Change::Clear(if everyone { STANDARD | who } else { who }));
            cleared = true;
        }
        if *bits != 0 {
            changes.push(if operator == b'-' { Change::Clear(scope & *bits) } else { Change::Set(scope & *bits) });
        }
        if *conditional != 0 {
            changes.push(Change::SetIfExecutable(scope & *conditional));
        }
        (*bits, *conditional) = (0, 0);
        if last {
            return;
        }
        // A copy with `=` clears its own places.
        cleared = true;
    };
    for permission in permissions.bytes() {
        match permission {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= EXECUTE,
            b'X' if operator == b'-' => bits |= EXECUTE,
            b'X' => conditional |= EXECUTE,
            // For others alone, these bits mean nothing.
            b's' if everyone || who & !0o007 != 0 => bits |= SET_USER | SET_GROUP,
            b't' if everyone || who & !0o007 != 0 => {
                who |= STICKY;
                bits |= STICKY;
            }
            b's' | b't' => {}
            b'u' | b'g' | b'o' => {
                flush(&mut bits, &mut conditional, who, false, changes);
                let shift = match permission {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                };
                changes.push(Change::Copy { shift, into: if everyone { 0o777 } else { who & 0o777 }, operator });
            }
            _ => return None,
        }
    }
    flush(&mut bits, &mut conditional, who, true, changes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, current: u32, is_dir: bool) -> u32 {
        Mode::parse(text).expect(text).apply(current, is_dir)
    }

    #[test]
    fn an_octal_mode_replaces_all_bits_but_the_type() {
        assert_eq!(apply("0644", 0o100_4755, false), 0o100_0644);
        assert_eq!(apply("7777", 0, true), 0o7777);
        let written = |text: &str| Mode::parse(text).expect(text).to_string();
        assert_eq!([written("644"), written("00644"), written("u=rwX,go=rX")], ["0644", "0644", "u=rwX,go=rX"]);
        assert_eq!(Mode::parse("17777"), Err(ModeError::OutOfRange("17777".into())));
    }

    #[test]
    fn symbolic_changes_apply_in_their_order() {
        for (text, current, is_dir, want) in [
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o711, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o777, false, 0o555),
            ("go=", 0o777, false, 0o700),
            ("g=u", 0o740, false, 0o770),
            ("go=u-w", 0o700, false, 0o755),
            ("o+g", 0o070, false, 0o077),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
            ("u+r-w", 0o200, false, 0o400),
            ("=rx", 0o4777, false, 0o555),
            ("a-x,a+X", 0o755, false, 0o755),
            ("o+s", 0o755, false, 0o755),
        ] {
            assert_eq!(apply(text, current, is_dir), want, "{text} on {current:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "u", "u+q", "rwx", "u+r,", "8", "0o7", "77a", "-1", "u+r w"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }
}
