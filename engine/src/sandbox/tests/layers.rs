//! What a step leaves in its upper directory, and on how many layers it can stand.

use super::world::{World, directory};
use crate::sandbox::host::Host;
use crate::sandbox::op::Op;
use crate::sandbox::program::compile;
use crate::sandbox::{Exit, MountSource};
use std::fs;

#[test]
fn only_what_the_command_changed_is_in_the_layer() {
    let Some(world) = World::new() else { return };
    let ran = world.sh(
        "echo 'nameserver 9.9.9.9' > /etc/resolv.conf; echo x >> /etc/hosts; echo y > /dev/shm/s; echo z > /work/z",
    );
    assert_eq!(ran.exit, Exit::Code(0), "{}", ran.stderr);
    assert_eq!(world.upper(), ["work/", "work/z"]);
    world.sh("true");
    assert_eq!(world.upper(), Vec::<String>::new());
}

#[test]
fn a_file_written_beside_a_stub_brings_its_directory_but_not_the_stub() {
    let Some(world) = World::new() else { return };
    let before = fs::metadata(world.base().join("etc")).unwrap().modified().unwrap();
    let ran = world.sh("stat -c '%a %u' /etc; chmod 700 /etc/passwd");
    assert_eq!(ran.stdout, "755 0\n");
    assert_eq!(world.upper(), ["etc/", "etc/passwd"]);
    let upper = world.dir.path().join("step0/upper/etc");
    assert_eq!(fs::metadata(upper).unwrap().modified().unwrap(), before);
}

#[test]
fn removals_are_whiteouts_and_replaced_directories_are_opaque() {
    let Some(world) = World::new() else { return };
    world.sh("rm /data/old; rm -r /data/sub; mkdir /data/sub; echo n > /data/sub/new");
    assert_eq!(world.upper(), ["data/", "data/old device 0:0", "data/sub/ opaque=y", "data/sub/new"]);
    let upper = world.dir.path().join("step0/upper");
    let mut spec = world.spec("find /data | sort -z 2>/dev/null || ls -R /data");
    spec.lowers.insert(0, upper);
    spec.argv = ["/bin/sh", "-c", "ls /data /data/sub"].map(Into::into).to_vec();
    assert_eq!(world.run(&spec).stdout, "/data:\nsub\n\n/data/sub:\nnew\n");
}

#[test]
fn three_hundred_layers_stack() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("cat /top /layer/0 /layer/299; ls /layer | wc -l");
    for number in 0..300 {
        let layer = world.dir.path().join(format!("layer-with-a-name-as-long-as-a-digest-has-{number}"));
        fs::create_dir_all(layer.join("layer")).unwrap();
        fs::write(layer.join("layer").join(number.to_string()), format!("{number}\n")).unwrap();
        fs::write(layer.join("top"), format!("top {number}\n")).unwrap();
        spec.lowers.insert(0, layer);
    }
    assert_eq!(world.run(&spec).stdout, "top 299\n0\n299\n300\n");
}

#[test]
fn a_path_too_long_for_the_new_interface_works_by_links() {
    let Some(world) = World::new() else { return };
    let long = world.dir.path().join("l".repeat(200)).join("m".repeat(100));
    fs::create_dir_all(long.join("data")).unwrap();
    fs::write(long.join("data/long"), "long\n").unwrap();
    let mut spec = world.spec("cat /data/long /data/old; echo x > /work/x");
    spec.lowers.insert(0, long);
    assert_eq!(world.run(&spec).stdout, "long\nold\n");
    assert_eq!(world.upper(), ["work/", "work/x"]);
}

#[test]
fn a_mount_from_another_stage_takes_writes_that_nobody_keeps() {
    let Some(world) = World::new() else { return };
    let stage = world.dir.path().join("stage");
    let (upper, work) = (world.dir.path().join("stage-upper"), world.dir.path().join("stage-work"));
    for dir in [&stage.join("out"), &upper, &work] {
        fs::create_dir_all(dir).unwrap();
    }
    fs::write(stage.join("out/f"), "stage\n").unwrap();
    let source = MountSource::Overlay { lowers: vec![stage.clone()], upper, work, subpath: "out".into() };
    let mut spec = world.spec("cat /mnt/f; echo changed > /mnt/f; cat /mnt/f; touch /mnt/t/x");
    let memory = MountSource::Tmpfs { size: Some(4096), mode: 0o700 };
    spec.mounts = vec![directory("/mnt", source), directory("/mnt/t", memory)];
    let ran = world.run(&spec);
    assert_eq!((ran.stdout.as_str(), ran.exit), ("stage\nchanged\n", Exit::Code(0)));
    assert_eq!(fs::read_to_string(stage.join("out/f")).unwrap(), "stage\n");
    assert_eq!(world.upper(), Vec::<String>::new());
}

#[test]
fn the_program_is_the_same_for_the_same_step_and_ends_by_entering_the_root() {
    let Some(world) = World::new() else { return };
    let spec = world.spec("true");
    let host = Host::get().unwrap();
    let program = compile(&spec, host, b"nameserver 1.1.1.1\n", &[]).unwrap();
    assert_eq!(program, compile(&spec, host, b"nameserver 1.1.1.1\n", &[]).unwrap());
    assert!(matches!(program.ops.first(), Some(Op::MakePrivate)));
    assert!(matches!(program.ops.last(), Some(Op::EnterRoot { .. })));
    // Every path of the host that a step's program opens: its own directories and six devices.
    let host_paths = program.ops.iter().filter(|op| format!("{op:?}").contains("origin: Host {")).count();
    assert_eq!(host_paths, 6);
}

#[test]
fn a_detached_overlay_shows_its_layers_and_takes_writes() {
    let Some(world) = World::new() else { return };
    let spec = world.spec("");
    let mount = crate::sandbox::overlay_mount(&spec.lowers, &spec.upper, &spec.work).unwrap();
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(&mount, "data/added", flags, rustix::fs::Mode::RUSR).unwrap();
    assert!(spec.upper.join("data/added").exists());
}
