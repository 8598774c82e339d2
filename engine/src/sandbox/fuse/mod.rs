//! Watches what a step looks at: a read-only FUSE layer below its overlay.
//!
//! The kernel asks for each name, listing and read once, so that nothing escapes whatever the program
//! does: static, threaded, by io_uring, by mapping, by a copy into the upper directory. Works in a user
//! namespace. Knows nothing of keys, and not what was seen is good for.

mod layers;
mod nodes;
mod protocol;
mod serve;
mod turns;

use crate::trace::Observed;
use layers::Layers;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
use serve::{Ended, Server};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;

pub use layers::{Listing, Lower};

/// Why nothing can be watched here, in words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotWatch(String);

/// A running server and its file system, which is mounted nowhere yet.
#[derive(Debug)]
pub(super) struct Watch {
    mount: Option<OwnedFd>,
    thread: JoinHandle<Option<Ended>>,
    stop: Arc<OwnedFd>,
}

impl Watch {
    /// Shows these layers, the topmost first, as one. `attributes` says whether any file in those without a listing may
    /// have extended attributes; where no file has, the kernel is told so once.
    pub(super) fn new(lowers: &[Lower], attributes: bool) -> Result<Watch, CannotWatch> {
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |errno: Errno| CannotWatch(format!("{what}: {}", std::io::Error::from(errno)))
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = openat(CWD, c"/dev/fuse", flags, Mode::empty()).map_err(cannot("/dev/fuse cannot be opened"))?;
        let layers = Layers::open(lowers).map_err(cannot("a layer cannot be opened"))?;
        let mount = mount(&device).map_err(cannot("a FUSE file system cannot be mounted"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(cannot("no event can be made"))?;
        let stop = Arc::new(stop);
        let told = Arc::clone(&stop);
        // The listings are read while the step's sandbox is made: its first question waits for them.
        let thread = std::thread::Builder::new()
            .name("kiln-watch".to_owned())
            .spawn(move || {
                let (layers, in_listings) = layers.listed();
                turns::serve(device, told, Server::new(layers, attributes || in_listings))
            })
            .map_err(|error| CannotWatch(format!("no server can be started: {error}")))?;
        Ok(Watch { mount: Some(mount), thread, stop })
    }

    /// The mount's descriptor, which the process that attaches it inherits under the same number.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.mount.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Ends the server, whose step has ended, and gives what it saw.
    pub(super) fn finish(mut self) -> Observed {
        // Cannot fail: the counter is far from full. A server that has ended needs no telling.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        let ended = self.thread.join();
        let (observed, nodes) = match ended {
            Ok(Some(Ended { nodes, trouble })) => (Observed { seen: nodes.seen(), incomplete: trouble }, Some(nodes)),
            Ok(None) | Err(_) => {
                (Observed { seen: Vec::new(), incomplete: Some("its server failed".to_owned()) }, None)
            }
        };
        // The kernel forgets a file system with the last that has it, which takes as long as much was seen. It has
        // been kept so that neither the step nor what follows waits for that; where no thread can be had, they do.
        let forgotten = (self.mount.take(), nodes);
        let _thread = std::thread::Builder::new().name("kiln-unmount".to_owned()).spawn(move || drop(forgotten));
        observed
    }
}

/// Makes the file system that this open device serves.
fn mount(device: &OwnedFd) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let number = CString::new(device.as_raw_fd().to_string()).map_err(|_| Errno::INVAL)?;
    fsconfig_set_string(&context, c"source", c"kiln")?;
    fsconfig_set_string(&context, c"fd", number.as_c_str())?;
    fsconfig_set_string(&context, c"rootmode", c"40000")?;
    fsconfig_set_string(&context, c"user_id", c"0")?;
    fsconfig_set_string(&context, c"group_id", c"0")?;
    // Who may do what is decided by the overlay above; nothing else can reach this.
    fsconfig_set_flag(&context, c"allow_other")?;
    // Nothing is written here. Said of the whole file system, it also keeps the kernel from taking a read for a change
    // of the access time, after which it would ask for the file's attributes again.
    fsconfig_set_flag(&context, c"ro")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}
