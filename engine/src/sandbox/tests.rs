//! Real steps in real sandboxes: what they see, what they cannot do, what they leave behind.
//!
//! Skipped where this is not root or `/bin/busybox` is missing; `KILN_REQUIRE_TOOLS=1` makes that a failure.

mod attacks;
mod confinement;
mod layers;
mod traced;
mod world;

use super::{Cancel, Error, Exit, Mount, MountSource, Network};
use std::time::{Duration, Instant};
use world::World;

#[test]
fn the_exit_code_and_the_signal_are_those_of_the_command() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.sh("exit 7").exit, Exit::Code(7));
    assert_eq!(world.sh("kill -TERM $$").exit, Exit::Signal(libc::SIGTERM));
    assert_eq!(world.sh("kill -KILL $$").exit, Exit::Signal(libc::SIGKILL));
}

#[test]
fn standard_output_and_error_stay_apart_and_input_is_empty() {
    let Some(world) = World::new() else { return };
    let ran = world.sh("echo out; echo err >&2; cat; readlink /proc/self/fd/0");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n/dev/null\n", "err\n"));
}

#[test]
fn a_hundred_megabytes_of_output_pass_through_constant_memory() {
    let Some(world) = World::new() else { return };
    let spec = world.stubbed(&world.spec("head -c 100000000 /dev/zero; head -c 1000 /dev/zero >&2"));
    let (mut counts, mut largest) = ([0usize; 2], 0);
    let exit = super::run(
        &spec,
        &mut |stream, bytes| {
            counts[usize::from(stream == crate::event::Stream::Stderr)] += bytes.len();
            largest = largest.max(bytes.len());
        },
        &Cancel::new().unwrap(),
    );
    assert_eq!(exit.unwrap(), Exit::Code(0));
    assert_eq!(counts, [100_000_000, 1000]);
    assert!(largest <= 64 * 1024);
}

#[test]
fn a_process_left_in_the_background_does_not_outlive_the_command() {
    let Some(world) = World::new() else { return };
    let start = Instant::now();
    let ran = world.sh("setsid sleep 987 & sleep 988 & echo done");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Code(0), "done\n"));
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(!world::anyone_runs("sleep\09"), "a background process is alive");
}

#[test]
fn the_first_process_reaps_orphans_and_tells_nothing_of_the_builder() {
    let Some(world) = World::new() else { return };
    let script = "(sleep 0 &) ; sleep 0.2; echo $$; tr -d '\\0' </proc/1/cmdline; echo; cat /proc/1/comm; \
                  cat /proc/1/environ 2>/dev/null; ls /proc/1/fd | wc -l; \
                  ls -l /proc/1/ /proc/1/fd/ 2>/dev/null | grep -c -e '->'; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; true";
    assert_eq!(world.sh(script).stdout, "2\ninit\ninit\n1\n0\n");
}

#[test]
fn the_environment_is_exactly_the_one_given() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("");
    spec.argv = ["/bin/busybox", "env"].map(Into::into).to_vec();
    spec.env = [("PATH", "/bin"), ("A", "1 2")].map(|(name, value)| (name.into(), value.into())).to_vec();
    assert_eq!(world.run(&spec).stdout, "PATH=/bin\nA=1 2\n");
}

#[test]
fn a_command_is_searched_in_the_path_and_its_absence_is_named() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("");
    spec.argv = ["echo", "found"].map(Into::into).to_vec();
    assert_eq!(world.run(&spec).stdout, "found\n");
    spec.argv = vec!["nonesuch".into()];
    let error = world.try_run(&world.fresh(spec)).unwrap_err();
    assert!(
        matches!(&error, Error::Exec { program, source } if program == "nonesuch" && source.raw_os_error() == Some(libc::ENOENT)),
        "{error:?}"
    );
}

#[test]
fn the_working_directory_host_name_and_mask_are_set() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("pwd; hostname; umask");
    spec.cwd = "/work".into();
    assert_eq!(world.run(&spec).stdout, "/work\nbuildkitsandbox\n0022\n");
    spec.cwd = "/missing/too".into();
    spec.argv = ["/bin/sh", "-c", "pwd; stat -c '%a %u' /missing"].map(Into::into).to_vec();
    assert_eq!(world.run(&world.fresh(spec.clone())).stdout, "/missing/too\n755 0\n");
    spec.cwd = "/bin/sh/under-a-file".into();
    let error = world.try_run(&world.fresh(spec)).unwrap_err();
    assert_eq!(error.to_string(), "cannot enter the working directory /bin/sh/under-a-file");
}

#[test]
fn no_network_means_a_loopback_that_is_up_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c1 -W1 127.0.0.1 >/dev/null && echo pong; wc -c < /etc/resolv.conf");
    spec.network = Network::None;
    assert_eq!(world.run(&spec).stdout, "lo\nunknown\npong\n0\n");
}

#[test]
fn hosts_has_the_extra_names() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("cat /etc/hosts");
    spec.extra_hosts = vec![("db".into(), "10.0.0.7".parse().unwrap())];
    let expected = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tdb\n";
    assert_eq!(world.run(&spec).stdout, expected);
}

#[test]
fn cancelling_kills_even_a_daemon_at_once() {
    let Some(world) = World::new() else { return };
    let spec = world.stubbed(&world.spec("setsid sleep 876 & trap '' TERM INT; echo up; sleep 875"));
    let cancel = Cancel::new().unwrap();
    let mut since = None;
    let result = super::run(
        &spec,
        &mut |_, _| {
            since.get_or_insert_with(Instant::now);
            cancel.cancel();
        },
        &cancel,
    );
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(since.unwrap().elapsed() < Duration::from_secs(2));
    assert!(!world::anyone_runs("sleep\08"), "a daemon is alive");
    assert!(matches!(world.try_run_with(&world.spec("true"), &cancel), Err(Error::Cancelled)));
}

#[test]
fn a_secret_is_there_with_its_mode_and_owner_and_nowhere_afterwards() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(
        "cat /run/secrets/key; stat -c '%a %u %g' /run/secrets/key; grep -c ' /run/secrets/key .*noexec' /proc/mounts",
    );
    let source = MountSource::File { content: super::SecretBytes::new(*b"hush\n"), mode: 0o400, uid: 5, gid: 6 };
    spec.mounts = vec![Mount { target: "/run/secrets/key".into(), source, read_only: false, is_dir: false }];
    assert!(!format!("{spec:?}").contains("hush"));
    assert_eq!(world.run(&spec).stdout, "hush\n400 5 6\n1\n");
    assert_eq!(world.upper(), Vec::<String>::new());
}

#[test]
fn no_descriptor_is_left_in_the_builder() {
    let Some(world) = World::new() else { return };
    world.sh("true");
    let mine = || {
        let fds =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        fds.filter(|to| {
            let to = to.to_string_lossy();
            to.contains("pidfd") || to.contains("mount")
        })
        .count()
    };
    for _ in 0..20 {
        world.sh("true");
    }
    // Other tests run steps at the same time: at most a few of theirs.
    assert!(mine() < 10, "{}", mine());
}

#[test]
fn many_steps_run_side_by_side() {
    let Some(world) = World::new() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for turn in 0..10 {
                    let ran = world.run(&world.spec(&format!("echo {thread} {turn} > /work/f; cat /work/f")));
                    assert_eq!(ran.stdout, format!("{thread} {turn}\n"));
                }
            });
        }
    });
}
