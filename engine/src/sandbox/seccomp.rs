//! Which system calls a step may not make: those that Docker's default profile refuses to a container
//! without `CAP_SYS_ADMIN` and its like.
//!
//! Written as what is refused, with an upper end: a call that is newer than this table answers
//! `ENOSYS`, so a new kernel never opens a new door. On x86-64 the i386 ABI has the same rules and x32
//! answers `ENOSYS`; on other processors every foreign ABI does.

use super::bpf::{Instruction, Rule, Table, assemble};
use std::sync::OnceLock;

const EPERM: u16 = libc::EPERM as u16;
const ENOSYS: u16 = libc::ENOSYS as u16;

/// The last system call that was looked at, `file_setattr` of Linux 6.17. New ones have the same number
/// on every ABI.
const LAST_KNOWN: u32 = 469;

/// `CLONE_NEW*`: new namespaces, the user namespace among them.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// Reaches the hypervisor.
const AF_VSOCK: u32 = 40;
/// Linux, `UNAME26`, `ADDR_NO_RANDOMIZE`'s neighbour `PER_LINUX32`, both, and the query.
const PERSONALITIES: &[u32] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filter of a step; made once.
pub(super) fn default_filter() -> &'static [Instruction] {
    static FILTER: OnceLock<Vec<Instruction>> = OnceLock::new();
    FILTER.get_or_init(|| assemble(&tables()))
}

/// The same, with the builder being told of every call by which a program reaches other machines.
pub(super) fn telling_filter() -> &'static [Instruction] {
    static FILTER: OnceLock<Vec<Instruction>> = OnceLock::new();
    FILTER.get_or_init(|| {
        let mut tables = tables();
        let (native, foreign) = tables.split_at_mut(1);
        tell(native, &NATIVE_CALLS);
        #[cfg(target_arch = "x86_64")]
        tell(foreign, &I386_CALLS);
        let _ = foreign;
        assemble(&tables)
    })
}

/// Takes the exception that [`telling_filter`] makes for [`HANDING_OVER`] back again.
pub(super) fn closing_filter() -> &'static [Instruction] {
    static FILTER: OnceLock<Vec<Instruction>> = OnceLock::new();
    FILTER.get_or_init(|| {
        let mut tables = tables();
        for (table, calls) in tables.iter_mut().zip(CALLS) {
            table.rules = vec![(calls.sendmsg, Rule::RefuseIf(2, HANDING_OVER, EPERM))];
        }
        assemble(&tables)
    })
}

/// The flags of the one `sendmsg` by which the filter's own descriptor is handed over while it is in
/// force already: `MSG_PROBE`, `MSG_TRUNC`, `MSG_FIN`, `MSG_SYN` and `MSG_RST`, which no sender means.
pub(super) const HANDING_OVER: u32 = 0x1630;

/// The numbers of the calls that reach other machines.
pub(super) struct Calls {
    pub socket: u32,
    pub connect: u32,
    pub sendto: u32,
    pub sendmsg: u32,
    pub sendmmsg: u32,
    /// The one call that stands for all of them on i386.
    pub socketcall: Option<u32>,
}

pub(super) const NATIVE_CALLS: Calls = Calls {
    socket: libc::SYS_socket as u32,
    connect: libc::SYS_connect as u32,
    sendto: libc::SYS_sendto as u32,
    sendmsg: libc::SYS_sendmsg as u32,
    sendmmsg: libc::SYS_sendmmsg as u32,
    socketcall: None,
};

#[cfg(target_arch = "x86_64")]
pub(super) const I386_CALLS: Calls =
    Calls { socket: 359, connect: 362, sendto: 369, sendmsg: 370, sendmmsg: 345, socketcall: Some(102) };

#[cfg(target_arch = "x86_64")]
const CALLS: [&Calls; 2] = [&NATIVE_CALLS, &I386_CALLS];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [&Calls; 1] = [&NATIVE_CALLS];

/// Address families that reach nothing but this machine: `AF_UNIX`, `AF_NETLINK`, `AF_ALG`.
const LOCAL_FAMILIES: &[u32] = &[1, 16, 38];

fn tell(tables: &mut [Table], calls: &Calls) {
    for table in tables {
        table.rules.retain(|(number, _)| *number != calls.socket);
        table.rules.extend([
            (calls.socket, Rule::TellBut(LOCAL_FAMILIES, AF_VSOCK, EPERM)),
            (calls.connect, Rule::Tell),
            // Without an address it goes where the socket is connected to.
            (calls.sendto, Rule::TellUnless(4, 0)),
            (calls.sendmsg, Rule::TellUnless(2, HANDING_OVER)),
            (calls.sendmmsg, Rule::Tell),
        ]);
        table.rules.extend(calls.socketcall.map(|number| (number, Rule::Tell)));
    }
}

#[cfg(target_arch = "x86_64")]
fn tables() -> Vec<Table> {
    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    let mut native = native();
    native.extend(NATIVE_X86.map(|number| (number, Rule::Refuse(EPERM))));
    vec![
        Table { architecture: X86_64, rules: native, last: LAST_KNOWN },
        Table { architecture: I386, rules: i386(), last: LAST_KNOWN },
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn tables() -> Vec<Table> {
    #[cfg(target_arch = "aarch64")]
    const NATIVE: u32 = 0xc000_00b7;
    #[cfg(target_arch = "riscv64")]
    const NATIVE: u32 = 0xc000_00f3;
    vec![Table { architecture: NATIVE, rules: native(), last: LAST_KNOWN }]
}

/// Refused on every processor.
const REFUSED: [libc::c_long; 53] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // Not named by the C library's bindings: statmount, listmount, open_tree_attr.
    457,
    458,
    467,
];

#[cfg(target_arch = "x86_64")]
const NATIVE_X86: [u32; 10] = [
    libc::SYS_ioperm as u32,
    libc::SYS_iopl as u32,
    libc::SYS_sysfs as u32,
    libc::SYS__sysctl as u32,
    libc::SYS_uselib as u32,
    libc::SYS_ustat as u32,
    // create_module, get_kernel_syms, query_module, vserver: long gone from the kernel.
    174,
    177,
    178,
    236,
];

fn native() -> Vec<(u32, Rule)> {
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX - 1);
    let mut rules: Vec<_> = REFUSED.iter().map(|call| (number(*call), Rule::Refuse(EPERM))).collect();
    rules.extend(by_argument(
        number(libc::SYS_clone),
        number(libc::SYS_clone3),
        number(libc::SYS_personality),
        number(libc::SYS_socket),
    ));
    rules.retain(|(number, _)| *number <= LAST_KNOWN);
    rules
}

/// The flags of `clone3` are in memory, where no filter sees them: it answers that it does not exist, and
/// C libraries then use `clone`.
fn by_argument(clone: u32, clone3: u32, personality: u32, socket: u32) -> [(u32, Rule); 4] {
    [
        (clone, Rule::RefuseBits(NEW_NAMESPACES, EPERM)),
        (clone3, Rule::Refuse(ENOSYS)),
        (personality, Rule::AllowValues(PERSONALITIES, EPERM)),
        (socket, Rule::RefuseValue(AF_VSOCK, EPERM)),
    ]
}

/// The same calls by their i386 numbers (`asm/unistd_32.h`).
#[cfg(target_arch = "x86_64")]
fn i386() -> Vec<(u32, Rule)> {
    const REFUSED: [u32; 67] = [
        21, 22, 25, 51, 52, 62, 74, 79, 86, 87, 88, 101, 103, 110, 111, 113, 115, 121, 127, 128, 129, 130, 131, 135,
        149, 166, 167, 169, 217, 253, 264, 273, 274, 275, 276, 283, 286, 287, 288, 294, 310, 317, 336, 338, 342, 346,
        349, 350, 357, 374, 404, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 443, 450, 457, 458, 467,
    ];
    let mut rules: Vec<_> = REFUSED.iter().map(|number| (*number, Rule::Refuse(EPERM))).collect();
    rules.extend(by_argument(120, 435, 136, 359));
    rules
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::bpf::tests::{TOLD, run};
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const EPERM: Option<u32> = Some(libc::EPERM as u32);
    const ENOSYS: Option<u32> = Some(libc::ENOSYS as u32);

    fn native(call: libc::c_long, argument: u32) -> Option<u32> {
        run(default_filter(), X86_64, call as u32, argument)
    }

    #[test]
    fn ordinary_calls_pass_and_dangerous_ones_do_not() {
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_ptrace, libc::SYS_chroot, libc::SYS_execve, 468] {
            assert_eq!(native(call, 0), None, "call {call}");
        }
        for call in [libc::SYS_mount, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_io_uring_setup, libc::SYS_unshare] {
            assert_eq!(native(call, 0), EPERM, "call {call}");
        }
        assert_eq!(native(1000, 0), ENOSYS);
    }

    #[test]
    fn a_new_namespace_is_refused_and_a_new_process_is_not() {
        assert_eq!(native(libc::SYS_clone, libc::SIGCHLD as u32), None);
        assert_eq!(native(libc::SYS_clone, (libc::CLONE_NEWUSER | libc::SIGCHLD) as u32), EPERM);
        assert_eq!(native(libc::SYS_clone3, 0), ENOSYS);
        assert_eq!(native(libc::SYS_personality, 8), None);
        assert_eq!(native(libc::SYS_personality, 0x4_0000), EPERM);
        assert_eq!(native(libc::SYS_socket, 1), None);
        assert_eq!(native(libc::SYS_socket, AF_VSOCK), EPERM);
    }

    #[test]
    fn the_builder_is_told_of_what_reaches_other_machines_and_of_nothing_else() {
        let told = |architecture, number, argument| run(telling_filter(), architecture, number, argument) == Some(TOLD);
        for (architecture, calls) in [(X86_64, &NATIVE_CALLS), (I386, &I386_CALLS)] {
            for call in [calls.connect, calls.sendto, calls.sendmsg, calls.sendmmsg, calls.socket] {
                assert!(told(architecture, call, 2), "call {call}");
            }
            assert!(!told(architecture, calls.socket, 1) && !told(architecture, calls.sendto, 0));
            assert!(!told(architecture, calls.sendmsg, HANDING_OVER));
            assert_eq!(run(closing_filter(), architecture, calls.sendmsg, HANDING_OVER), EPERM);
            assert_eq!(run(closing_filter(), architecture, calls.sendmsg, 0), None);
            assert_eq!(run(telling_filter(), architecture, calls.socket, AF_VSOCK), EPERM);
        }
        assert!(told(I386, 102, 1));
        assert_eq!(run(telling_filter(), X86_64, libc::SYS_mount as u32, 0), EPERM);
        assert_eq!(run(telling_filter(), X86_64, libc::SYS_openat as u32, 0), None);
    }

    #[test]
    fn another_abi_is_no_way_around() {
        assert_eq!(run(default_filter(), I386, 21, 0), EPERM);
        assert_eq!(run(default_filter(), I386, 310, 0), EPERM);
        assert_eq!(run(default_filter(), I386, 5, 0), None);
        assert_eq!(native(0x4000_0000 | libc::SYS_mount, 0), ENOSYS);
        assert_eq!(run(default_filter(), 0x4000_0028, 21, 0), ENOSYS);
    }
}
