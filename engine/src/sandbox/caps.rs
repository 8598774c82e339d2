//! Capabilities: those that Docker leaves to a container's root.

use super::sys;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// Docker's default set, from its documentation of runtime privileges.
pub(super) const DOCKER_DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Gives up, for good, every capability that is not in `kept`. Allocates nothing.
pub(super) fn bound(kept: CapabilitySet) -> Result<(), Errno> {
    for capability in 0..u64::BITS {
        if kept.bits() & (1 << capability) != 0 {
            continue;
        }
        match sys::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_the_one_that_docker_prints() {
        assert_eq!(DOCKER_DEFAULT.bits(), 0xa804_25fb);
    }
}
