//! The directories that are watched, and what the kernel says of them. The only file that knows notify.
//!
//! Each directory is watched by itself, so that what is ignored costs no watch and wakes nobody.

use crate::tree::refresh::Depth;
use notify::event::{EventKind, EventKindMask, ModifyKind};
use notify::{Config, ErrorKind, PathOp, RecommendedWatcher, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Something happened at these paths.
    Paths(Vec<(PathBuf, Depth)>),
    /// Something was missed: everything may have changed.
    Missed,
}

/// Watches directories.
pub(super) struct Eyes {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Blind {
    reason: String,
}

impl Eyes {
    /// Opens them; `tell` is called from another thread.
    pub fn open(tell: impl Fn(Seen) + Send + 'static) -> Result<Self, Blind> {
        // Openings are no changes, and kiln reads what it watches.
        let config = Config::default().with_event_kinds(EventKindMask::CORE).with_follow_symlinks(false);
        let handler = move |event: notify::Result<notify::Event>| {
            if let Some(seen) = seen(event) {
                tell(seen);
            }
        };
        let watcher = RecommendedWatcher::new(handler, config).map_err(|error| Blind { reason: error.to_string() })?;
        Ok(Eyes { watcher, watched: BTreeSet::new() })
    }

    /// Watches exactly these. Gives those that were not watched before: what happened there until now was not
    /// seen.
    pub fn watch(&mut self, wanted: BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, Blind> {
        let gone: Vec<PathOp> = self.watched.difference(&wanted).map(PathOp::unwatch).collect();
        let new: Vec<PathBuf> = wanted.difference(&self.watched).cloned().collect();
        self.watched = wanted;
        // A directory that was moved keeps its watch: that must go before the new name's comes.
        self.apply(gone)?;
        self.apply(new.iter().map(PathOp::watch_non_recursive).collect())?;
        Ok(new)
    }

    /// Stops watching a directory and those below it, because they may be others by now.
    pub fn forget(&mut self, dir: &Path) -> Result<(), Blind> {
        let below = self.watched.range(dir.to_path_buf()..).take_while(|path| path.starts_with(dir));
        let gone: Vec<PathBuf> = below.cloned().collect();
        for path in &gone {
            self.watched.remove(path);
        }
        self.apply(gone.iter().map(PathOp::unwatch).collect())
    }

    /// The directories that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &PathBuf> {
        self.watched.iter()
    }

    fn apply(&mut self, mut operations: Vec<PathOp>) -> Result<(), Blind> {
        while !operations.is_empty() {
            let Err(error) = self.watcher.update_paths(std::mem::take(&mut operations)) else { return Ok(()) };
            match (&error.source.kind, &error.origin) {
                // Gone by now: whoever made it go has caused an event above it.
                (ErrorKind::PathNotFound | ErrorKind::WatchNotFound, _) | (_, Some(PathOp::Unwatch(_))) => {}
                (ErrorKind::Io(io), _) if io.kind() == std::io::ErrorKind::NotFound => {}
                (ErrorKind::Io(io), _) if io.kind() == std::io::ErrorKind::NotADirectory => {}
                (ErrorKind::MaxFilesWatch, _) => {
                    let reason = "the kernel watches no more directories for this user (fs.inotify.max_user_watches)";
                    return Err(Blind { reason: reason.to_owned() });
                }
                _ => return Err(Blind { reason: error.source.to_string() }),
            }
            if let Some(PathOp::Watch(path, _)) = &error.origin {
                self.watched.remove(path);
            }
            operations = error.remaining;
        }
        Ok(())
    }
}

/// What an event says; `None` where it says nothing of a change.
fn seen(event: notify::Result<notify::Event>) -> Option<Seen> {
    let Ok(event) = event else { return Some(Seen::Missed) };
    if event.need_rescan() {
        return Some(Seen::Missed);
    }
    let depth = match event.kind {
        EventKind::Access(_) => return None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => Depth::Own,
        _ => Depth::All,
    };
    Some(Seen::Paths(event.paths.into_iter().map(|path| (path, depth)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, DataChange, Flag, RenameMode};

    #[test]
    fn an_event_is_a_hint_at_its_paths_and_a_lost_one_at_everything() {
        let event = |kind| notify::Event::new(kind).add_path("/a".into());
        let paths = |depth| Some(Seen::Paths(vec![("/a".into(), depth)]));
        assert_eq!(seen(Ok(event(EventKind::Modify(ModifyKind::Data(DataChange::Any))))), paths(Depth::Own));
        assert_eq!(seen(Ok(event(EventKind::Create(CreateKind::File)))), paths(Depth::All));
        assert_eq!(seen(Ok(event(EventKind::Modify(ModifyKind::Name(RenameMode::From))))), paths(Depth::All));
        assert_eq!(seen(Ok(event(EventKind::Access(AccessKind::Any)))), None);
        assert_eq!(seen(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan))), Some(Seen::Missed));
        assert_eq!(seen(Err(notify::Error::generic("x"))), Some(Seen::Missed));
    }
}
