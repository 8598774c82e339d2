//! Overlay mounts in the one format that kiln uses, whoever makes them: extended attributes in `user.`,
//! so that a layer written without privileges reads the same as one written with them.
//!
//! Whiteouts are character devices 0:0, opaque directories carry `user.overlay.opaque=y`; redirects,
//! metadata-only copies and indices are never asked for, so a layer means the same wherever it is stacked.

use super::error::{Action, Error};
use super::op::Setting;
use super::program::{c_path, c_string};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag};
use rustix::mount::{fsconfig_set_string, fsmount, fsopen};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The longest value that `fsconfig(2)` takes, in bytes without the final zero.
pub(super) const LONGEST_SETTING_BYTES: usize = 255;

/// Mounts an overlay without attaching it anywhere: the caller attaches it with `move_mount` or works
/// below the descriptor. `lowers` is topmost first. `upper` and `work` are empty directories of one file system.
///
/// Nothing is synchronised to disk on unmounting (`volatile`): a caller that keeps `upper` does that itself.
///
/// # Errors
/// When the kernel refuses it: `Unsupported` kernels are those before 6.8, which cannot append lower
/// directories one by one, and paths longer than 255 bytes are not taken.
pub fn overlay_mount(lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd, Error> {
    let settings = settings(lowers, upper, work)?;
    let failed = |errno: Errno| Error::Setup {
        action: Action::MakeOverlay,
        path: upper.to_owned(),
        detail: None,
        source: errno.into(),
    };
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    for setting in &settings {
        match setting {
            Setting::Text(key, value) => fsconfig_set_string(&context, *key, value.as_c_str()).map_err(failed)?,
            Setting::Flag(key) => fsconfig_set_flag(&context, *key).map_err(failed)?,
            // Optional: where it is missing, only speed is.
            Setting::OptionalFlag(key) => fsconfig_set_flag(&context, *key).unwrap_or(()),
        }
    }
    fsconfig_create(&context).map_err(failed)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV).map_err(failed)
}

/// The settings of an overlay, lower directories one by one.
pub(super) fn settings(lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<Vec<Setting>, Error> {
    let mut all = Vec::with_capacity(lowers.len() + 4);
    for lower in lowers {
        all.push(Setting::Text(c"lowerdir+", c_path("lower directory", lower)?));
    }
    all.push(Setting::Text(c"upperdir", c_path("upper directory", upper)?));
    all.push(Setting::Text(c"workdir", c_path("work directory", work)?));
    all.push(Setting::Flag(c"userxattr"));
    all.push(Setting::OptionalFlag(c"volatile"));
    Ok(all)
}

/// The same for `mount(2)`, where all of it must fit one page: directories are named by links that the
/// caller makes, `0` to `n - 1`, `u` and `w`.
pub(super) fn options_by_links(lower_count: usize) -> Result<CString, Error> {
    let lowers: Vec<String> = (0..lower_count).map(|n| n.to_string()).collect();
    let text = format!("lowerdir={},upperdir=u,workdir=w,userxattr,volatile", lowers.join(":"));
    c_string("overlay options", text)
}

/// Whether this kernel takes lower directories one by one.
pub(super) fn appends_lower_directories() -> bool {
    let probe = || -> Result<(), Errno> {
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let key: &CStr = c"lowerdir+";
        fsconfig_set_string(&context, key, c"/")
    };
    probe().is_ok()
}
