//! What this kernel and this process' user namespace allow. Asked once, after the user namespace was entered.
//!
//! Knows nothing of any step.

use super::error::Error;
use super::{overlay, sys};
use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

/// Facts that decide how a sandbox is built here.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Overlays take lower directories one by one, so that any number fits.
    pub appends_lowers: bool,
    /// This process is in the first user namespace: it is root, or nothing works.
    pub initial_namespace: bool,
    /// `setgroups` is allowed.
    pub sets_groups: bool,
    /// A new `/proc` may be mounted for a new PID namespace.
    pub fresh_proc: bool,
    /// A new `/sys` may be mounted for a new network namespace.
    pub fresh_sys: bool,
    /// User ids that exist here, as ranges.
    pub uids: Vec<Range<u64>>,
    /// Group ids that exist here, as ranges.
    pub gids: Vec<Range<u64>>,
    /// Below `/sys`: directories that tell of other users' work, one for each processor.
    pub throttles: Vec<CString>,
    /// Where this process' arguments and environment lie in its memory: a sandbox's first process, a
    /// copy of this one, overwrites its copy, because anyone may read them in `/proc`.
    pub arguments: Range<usize>,
}

impl Host {
    /// The facts of this process; cached, so that a step pays for none of it.
    pub(super) fn get() -> Result<&'static Host, Error> {
        static HOST: OnceLock<Host> = OnceLock::new();
        if let Some(host) = HOST.get() {
            return Ok(host);
        }
        let host = Host::ask()?;
        Ok(HOST.get_or_init(|| host))
    }

    fn ask() -> Result<Host, Error> {
        let uids = ranges(&read("read /proc/self/uid_map", "/proc/self/uid_map")?);
        let gids = ranges(&read("read /proc/self/gid_map", "/proc/self/gid_map")?);
        let initial_namespace = uids.first() == Some(&(0..u64::from(u32::MAX)));
        let setgroups = std::fs::read_to_string("/proc/self/setgroups").unwrap_or_default();
        let (fresh_proc, fresh_sys) = if initial_namespace { (true, true) } else { sys::probe_fresh_mounts() };
        Ok(Host {
            appends_lowers: overlay::appends_lower_directories(),
            initial_namespace,
            sets_groups: setgroups.trim() != "deny",
            fresh_proc,
            fresh_sys,
            uids,
            gids,
            throttles: throttles(),
            arguments: argument_range(&read("read /proc/self/stat", "/proc/self/stat")?).unwrap_or(0..0),
        })
    }

    /// Whether a group exists here.
    pub(super) fn has_gid(&self, gid: u32) -> bool {
        self.gids.iter().any(|range| range.contains(&u64::from(gid)))
    }

    /// Whether a user exists here.
    pub(super) fn has_uid(&self, uid: u32) -> bool {
        self.uids.iter().any(|range| range.contains(&u64::from(uid)))
    }
}

fn read(doing: &'static str, path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Host { doing, source })
}

/// Reads an id map: lines of first id inside, first id outside, count.
pub(super) fn ranges(map: &str) -> Vec<Range<u64>> {
    let line = |line: &str| -> Option<Range<u64>> {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        let (first, _, count) = (fields.next()??, fields.next()??, fields.next()??);
        Some(first..first.checked_add(count)?)
    };
    map.lines().filter_map(line).collect()
}

/// The bytes of memory that `/proc/PID/cmdline` and `environ` show: fields 48 to 51 of `/proc/PID/stat`.
fn argument_range(stat: &str) -> Option<Range<usize>> {
    // The second field is a name in parentheses and may itself hold anything.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3).map(|field| field.parse::<usize>().ok());
    let (start, arguments_end, _, end) = (fields.next()??, fields.next()??, fields.next()??, fields.next()??);
    // The environment follows the arguments; anything else is not the layout we know.
    (start < arguments_end && arguments_end <= end).then_some(start..end)
}

fn throttles() -> Vec<CString> {
    let Ok(processors) = std::fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let throttle = |name: std::ffi::OsString| {
        let path = std::path::Path::new("devices/system/cpu").join(name).join("thermal_throttle");
        std::path::Path::new("/sys")
            .join(&path)
            .is_dir()
            .then(|| CString::new(path.into_os_string().into_vec()).ok())?
    };
    let mut all: Vec<CString> = processors.filter_map(|entry| throttle(entry.ok()?.file_name())).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_map_is_read_as_ranges_of_inner_ids() {
        assert_eq!(ranges("         0       1000          1\n         1     100000      65536\n"), [0..1, 1..65537]);
        assert_eq!(ranges("0 0 4294967295\n5 9 1"), [0..4_294_967_295, 5..6]);
        assert_eq!(ranges("garbage\n"), []);
    }

    #[test]
    fn the_arguments_of_this_process_are_found_in_its_memory() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let range = argument_range(&stat).unwrap();
        let cmdline = std::fs::read("/proc/self/cmdline").unwrap();
        let environ = std::fs::read("/proc/self/environ").unwrap();
        assert!(range.len() >= cmdline.len() + environ.len());
        assert_eq!(argument_range("1 (a) b) S 1"), None);
    }
}
