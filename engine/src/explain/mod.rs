//! Why each step of a build hit or missed: verdicts, what changed, and which change began it.
//!
//! - [`verdict`]: the closed list of how a step ends.
//! - [`change`]: what differs between two keys; [`mod@compare`] finds it, [`files`] for listings.
//! - [`secrecy`]: whose values are never shown.
//! - [`align`]: which step of an earlier build is which step of a later one.
//! - [`mod@diff`]: two builds as if one had been made after the other.
//! - [`causes`]: the changes that began it all; [`critical`]: the steps that decide how long it takes.
//! - [`record`]: what is kept of a build; [`report`]: what a program sees of it.
//!
//! Pure: everything here works on values. What they are compared with is looked up by the build.

pub mod align;
pub mod causes;
pub mod change;
pub mod compare;
pub mod critical;
pub mod diff;
pub mod files;
pub mod record;
pub mod report;
pub mod secrecy;
pub mod verdict;

pub use change::{Change, FileChange, FileDiff, FileSet, Presence};
pub use record::{Build, BuildId, BuildStep, Compared, Dragged, End, Made, Unskipped, Why};
pub use verdict::{Hit, Miss, Verdict};
