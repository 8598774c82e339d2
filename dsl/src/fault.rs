//! How the readers of small languages fail within nom: not here, or wrong for good.
//!
//! Knows nothing of what is read.

use crate::diagnostic::Diagnostic;
use nom::IResult;

/// What nom passes back.
pub(crate) enum Fault {
    /// Nothing here: something else is tried.
    Elsewhere,
    /// What ends the reading.
    Wrong(Box<Diagnostic>),
}

impl<'a> nom::error::ParseError<&'a str> for Fault {
    fn from_error_kind(_: &'a str, _: nom::error::ErrorKind) -> Self {
        Fault::Elsewhere
    }

    fn append(_: &'a str, _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// What a reader of a part gives: the rest of the text and the part.
pub(crate) type Read<'a, T> = IResult<&'a str, T, Fault>;
