//! What a step may not do.

use super::world::World;
use crate::sandbox::{Exit, Ids, Security};

#[test]
fn root_has_dockers_capabilities_and_no_inheritable_ones() {
    let Some(world) = World::new() else { return };
    let ran = world.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(ran.stdout, expected);
}

#[test]
fn another_user_has_its_ids_and_no_capabilities() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("id -u; id -g; grep -E '^(Groups|Cap)' /proc/self/status; touch /tmp/mine && stat -c '%u %g' /tmp/mine; touch /work/x 2>/dev/null || echo refused");
    spec.user = Ids { uid: 1000, gid: 1001, groups: vec![1001, 44] };
    let expected = "1000\n1001\nGroups:\t44 1001 \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n1000 1001\nrefused\n";
    assert_eq!(world.run(&spec).stdout, expected);
}

#[test]
fn mounts_namespaces_and_kernel_settings_are_out_of_reach() {
    let Some(world) = World::new() else { return };
    let refused = [
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "unshare -U true",
        "unshare -m true",
        "hostname other",
        "echo 1 > /proc/sys/vm/overcommit_memory",
        "echo b > /proc/sysrq-trigger",
        "mkdir /sys/x",
        "cat /dev/mem",
    ];
    for command in refused {
        let ran = world.sh(&format!("{command} 2>/dev/null"));
        assert_ne!(ran.exit, Exit::Code(0), "{command} was allowed");
    }
}

#[test]
fn a_device_that_the_step_makes_opens_nothing() {
    let Some(world) = World::new() else { return };
    for place in ["/work", "/tmp", "/dev", "/dev/shm"] {
        let ran = world.sh(&format!("mknod {place}/z c 1 5 && echo made && head -c1 {place}/z >/dev/null"));
        assert_eq!((ran.stdout.as_str(), ran.exit), ("made\n", Exit::Code(1)), "{place}: {}", ran.stderr);
    }
    let ran = world.sh("echo x > /dev/null && head -c2 /dev/zero | wc -c && head -c2 /dev/urandom | wc -c");
    assert_eq!(ran.stdout, "2\n2\n");
}

#[test]
fn kernel_files_that_tell_of_the_host_are_masked() {
    let Some(world) = World::new() else { return };
    let ran = world.sh("cat /proc/kcore /proc/interrupts /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls -A /sys/firmware /proc/scsi 2>/dev/null | grep -v : | tr -d '\\n' | wc -c; grep -q MemTotal /proc/meminfo && echo meminfo");
    assert_eq!(ran.stdout, "0\n0\nmeminfo\n");
}

#[test]
fn devices_and_their_links_are_there() {
    let Some(world) = World::new() else { return };
    let ran = world.sh("cd /dev; ls | tr '\\n' ' '; for l in fd stdin ptmx; do readlink $l; done | tr '\\n' ' '; stat -f -c %T shm mqueue | tr '\\n' ' '; stat -c %a shm pts/ptmx null; grep -c 'size=65536k' /proc/mounts");
    assert_eq!(
        ran.stdout,
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \
         /proc/self/fd /proc/self/fd/0 pts/ptmx tmpfs UNKNOWN 1777\n666\n666\n2\n"
    );
}

#[test]
fn a_step_sees_its_own_processes_only_and_no_descriptor_of_the_builder() {
    let Some(world) = World::new() else { return };
    let ran = world
        .sh("ls /proc/self/fd | tr '\\n' ' '; grep -v ':/$' /proc/self/cgroup; ulimit -c; ls -d /proc/[0-9]* | wc -l");
    // Ahead of the last one: `ls` has the directory open. At most the first process, the shell, `ls` and `wc`.
    let (start, processes) = ran.stdout.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(start, "0 1 2 3 0");
    assert!((2..=4).contains(&processes.parse::<u32>().unwrap()), "{processes}");
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("");
    spec.argv = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"].map(Into::into).to_vec();
    let none = "0000000000000000";
    assert_eq!(world.run(&spec).stdout, format!("SigBlk:\t{none}\nSigIgn:\t{none}\nSigCgt:\t{none}\n"));
}

#[test]
fn an_insecure_step_has_every_capability_and_no_filter() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("grep -E '^(CapInh|Seccomp:)' /proc/self/status; mount -t tmpfs none /tmp && echo mounted; unshare -m echo unshared");
    spec.security = Security::Insecure;
    assert_eq!(world.run(&spec).stdout, "CapInh:\t0000000000000000\nSeccomp:\t0\nmounted\nunshared\n");
}
