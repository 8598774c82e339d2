//! What of a member's head can be taken, and what is refused.

use super::super::super::entry::{TreePath, Xattrs};
use super::super::super::tar::read::{Member, MemberKind};
use super::super::{Error, MAX_PATH_BYTES};

pub(super) fn root_is_dir(member: &Member, path: &TreePath) -> Result<(), Error> {
    match member.kind {
        MemberKind::Dir => Ok(()),
        _ => Err(Error::Unsupported { path: path.clone(), what: "the root but not a directory" }),
    }
}

/// The path that a member or hard link names. A leading slash is the archive's root, where `..` stays;
/// a relative path must not climb above where it begins.
pub(super) fn checked(path: &[u8]) -> Result<TreePath, Error> {
    let shown = |path: &[u8]| String::from_utf8_lossy(&path[..path.len().min(256)]).into_owned();
    if path.len() > MAX_PATH_BYTES {
        return Err(Error::TooLong { path: shown(path), length: path.len() });
    }
    let mut depth = 0usize;
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None if path.starts_with(b"/") => {}
                None => return Err(Error::Escapes { path: shown(path) }),
            },
            _ => depth += 1,
        }
    }
    Ok(TreePath::new(path))
}

pub(super) fn link_target(member: &Member) -> Result<&[u8], Error> {
    if member.link.len() > MAX_PATH_BYTES {
        let path = String::from_utf8_lossy(&member.link[..256]).into_owned();
        return Err(Error::TooLong { path, length: member.link.len() });
    }
    Ok(&member.link)
}

/// Leaves out what belongs to the overlay or to the machine that packed.
pub(super) fn kept_xattrs(mut xattrs: Xattrs) -> Xattrs {
    xattrs.retain(|(name, _)| {
        !(name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") || **name == *b"security.selinux")
    });
    xattrs
}
