//! What a shell form is given to where neither the file nor the base image says otherwise.
//!
//! Knows nothing of processes.

/// The shell of Linux images, an argument vector to which the command's text is added.
pub const DEFAULT: [&str; 2] = ["/bin/sh", "-c"];
