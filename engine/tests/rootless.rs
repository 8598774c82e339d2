//! Steps run by an ordinary user. Each test forks, because only a process with one thread may enter a
//! user namespace; the copy becomes that user and tells over a pipe what it saw.
//!
//! The tests are run by this program itself, one after the other on its only thread: a copy that is made
//! beside another thread inherits whatever locks that one holds, and waits for them for ever. Nothing else
//! may be in this program: what a host allows is asked once a process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test's failure is a panic, and its skip a line"
)]

use kiln_engine::{event, sandbox, tree};
use libtest_mimic::{Arguments, Trial};
use sandbox::{Error, Exit, Identity, Ids, Mount, MountSource, Network, Warning, enter_user_namespace};
use std::io::{Read as _, Write as _};
use std::time::Instant;
use world::{World, directory, skip};

#[expect(dead_code, reason = "shared with the tests that run as root, which use all of it")]
#[path = "../src/sandbox/tests/world.rs"]
mod world;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let test = |name: &str, body: fn()| {
        Trial::test(name, move || {
            body();
            Ok(())
        })
    };
    let tests = vec![
        test("a_user_without_subordinate_ids_is_root_of_one_id", a_user_without_subordinate_ids_is_root_of_one_id),
        test("an_id_that_is_not_mapped_is_named", an_id_that_is_not_mapped_is_named),
        test("a_step_leaves_the_same_layer_as_roots_does", a_step_leaves_the_same_layer_as_roots_does),
        test(
            "devices_kernel_files_secrets_and_mounts_are_as_for_root",
            devices_kernel_files_secrets_and_mounts_are_as_for_root,
        ),
        test(
            "a_user_with_subordinate_ids_can_run_steps_as_others",
            a_user_with_subordinate_ids_can_run_steps_as_others,
        ),
        test("root_enters_nothing", root_enters_nothing),
        test("how_long_a_step_that_does_nothing_takes", how_long_a_step_that_does_nothing_takes)
            .with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// A user that has no subordinate ids anywhere.
const NOBODY: u32 = 65534;

/// Runs `scenario` as this user in a process of its own and returns what it says; `None` where this
/// process cannot become other users.
fn as_user(uid: u32, scenario: impl FnOnce() -> String) -> Option<String> {
    if !rustix::process::geteuid().is_root() && skip("root, to become another user") {
        return None;
    }
    World::anyones()?;
    let (from, to) = std::io::pipe().unwrap();
    // SAFETY: there is no other thread; the child ends by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(from);
        std::panic::set_hook(Box::new(|_| {}));
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            become_user(uid);
            scenario()
        }));
        let said = said.unwrap_or_else(|panic| match panic.downcast::<String>() {
            Ok(text) => format!("panic: {text}"),
            Err(other) => format!("panic: {:?}", other.downcast_ref::<&str>()),
        });
        let _ = (&to).write_all(said.as_bytes());
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    assert!(pid > 0);
    drop(to);
    let mut said = String::new();
    (&from).read_to_string(&mut said).unwrap();
    // SAFETY: takes numbers and an absent pointer.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    Some(said)
}

fn become_user(uid: u32) {
    // SAFETY: these take numbers; the group list is one number long.
    let answers = unsafe {
        [
            libc::setgroups(1, &raw const uid),
            libc::setresgid(uid, uid, uid),
            libc::setresuid(uid, uid, uid),
            // A program that this user had started could be traced by it.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0),
        ]
    };
    assert_eq!(answers, [0; 4]);
    std::env::set_current_dir("/").unwrap();
}

fn enter() -> Identity {
    enter_user_namespace().unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

fn world() -> World {
    World::anyones().expect("busybox was looked for before")
}

/// The first user that has subordinate ids, by number.
fn user_with_subordinate_ids() -> Option<u32> {
    let has_helpers = std::path::Path::new("/usr/bin/newuidmap").exists();
    let text = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let owner = text.lines().next().and_then(|line| line.split(':').next()).unwrap_or_default();
    let found = sandbox::resolve_user(owner, Some(&passwd), None).ok().filter(|_| has_helpers);
    if found.is_none() && skip("newuidmap and a user with a line in /etc/subuid") {
        return None;
    }
    found.map(|ids| ids.uid)
}

fn a_user_without_subordinate_ids_is_root_of_one_id() {
    let said = as_user(NOBODY, || {
        let identity = enter();
        assert!(identity.rootless);
        assert_eq!(identity.mapped_ids, 1);
        assert!(matches!(&identity.warnings[..], [Warning::SingleId { .. }]), "{:?}", identity.warnings);
        let world = world();
        let mut spec = world.spec(
            "id -u; grep -E '^(Cap|Seccomp:)' /proc/self/status; cat /proc/self/setgroups; ls -d /proc/[0-9]* | wc -l",
        );
        spec.user.groups = vec![0, 10, 20];
        world.run(&spec).stdout
    });
    let Some(said) = said else { return };
    let expected = "0\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nSeccomp:\t2\ndeny\n4\n";
    assert_eq!(said, expected);
}

fn an_id_that_is_not_mapped_is_named() {
    let said = as_user(NOBODY, || {
        enter();
        let world = world();
        let mut spec = world.spec("true");
        spec.user = Ids { uid: 1000, gid: 0, groups: Vec::new() };
        let error = world.try_run(&spec).unwrap_err();
        assert!(matches!(error, Error::UnmappedId { what: "uid", id: 1000, mapped: 1 }));
        error.to_string()
    });
    let Some(said) = said else { return };
    assert_eq!(said, "the step runs with uid 1000, which is not mapped here (only 1 are)");
}

fn a_step_leaves_the_same_layer_as_roots_does() {
    let said = as_user(NOBODY, || {
        enter();
        let world = world();
        let ran = world.sh(
            "echo x > /etc/resolv.conf; rm /data/old; rm -r /data/sub; mkdir /data/sub; echo n > /data/sub/new; exit 3",
        );
        assert_eq!(ran.exit, Exit::Code(3), "{}", ran.stderr);
        world.upper().join(" ")
    });
    let Some(said) = said else { return };
    assert_eq!(said, "data/ data/old device 0:0 data/sub/ opaque=y data/sub/new");
}

fn devices_kernel_files_secrets_and_mounts_are_as_for_root() {
    let said = as_user(NOBODY, || {
        enter();
        let world = world();
        let source = world.dir.path().join("source");
        std::fs::create_dir_all(source.join("in")).unwrap();
        let both = [Network::Host, Network::None].map(|network| {
            let mut spec = world.spec(
                "cat /run/secrets/key; echo c > /cache/f; head -c2 /dev/zero | wc -c; ls /dev | tr '\\n' ' '; \
                 cat /proc/kcore 2>/dev/null | wc -c; echo 1 2>/dev/null > /proc/sys/vm/overcommit_memory || echo refused; \
                 mkdir /sys/x 2>/dev/null || echo refused; unshare -m true 2>/dev/null || echo refused; hostname",
            );
            spec.network = network;
            let key = MountSource::File { content: sandbox::SecretBytes::new(*b"hush\n"), mode: 0o400, uid: 0, gid: 0 };
            let cache = MountSource::Bind { root: source.clone(), subpath: "in".into() };
            spec.mounts = vec![
                directory("/cache", cache),
                Mount { target: "/run/secrets/key".into(), source: key, read_only: true, is_dir: false },
            ];
            let ran = world.run(&spec);
            assert!(world.upper().is_empty(), "{:?}", world.upper());
            ran.stdout
        });
        assert!(source.join("in/f").exists());
        both.concat()
    });
    let Some(said) = said else { return };
    let one = "hush\n2\nfd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 0\n\
               refused\nrefused\nrefused\nbuildkitsandbox\n";
    assert_eq!(said, [one, one].concat());
}

fn a_user_with_subordinate_ids_can_run_steps_as_others() {
    let Some(uid) = user_with_subordinate_ids() else { return };
    let said = as_user(uid, || {
        let identity = enter();
        assert!(identity.mapped_ids > 65535, "{identity:?}");
        let world = world();
        let mut spec = world.spec("id -u; id -g; grep Groups /proc/self/status; touch /tmp/f; stat -c '%u %g' /tmp/f");
        spec.user = Ids { uid: 1000, gid: 1001, groups: vec![1001, 44] };
        let mut said = world.run(&spec).stdout;
        said.push_str(&world.sh("touch /work/f; chown 33:34 /work/f; stat -c '%u %g' /work/f /dev/pts").stdout);
        said
    });
    let Some(said) = said else { return };
    assert_eq!(said, "1000\n1001\nGroups:\t44 1001 \n1000 1001\n33 34\n0 0\n");
}

fn root_enters_nothing() {
    let said = as_user(0, || format!("{:?}", enter()));
    let Some(said) = said else { return };
    assert_eq!(said, "Identity { rootless: false, mapped_ids: 4294967295, warnings: [] }");
}

/// Measures: run it alone, with `--ignored`.
fn how_long_a_step_that_does_nothing_takes() {
    for (who, uid) in [("root", 0), ("user", NOBODY)] {
        for network in [Network::Host, Network::None] {
            let said = as_user(uid, || {
                enter();
                let world = world();
                let mut times: Vec<u128> = (0..200)
                    .map(|_| {
                        let mut spec = world.stubbed(&world.spec(""));
                        spec.argv = vec!["/bin/true".into()];
                        spec.network = network;
                        let start = Instant::now();
                        let exit = sandbox::run(&spec, &mut |_, _| {}, &sandbox::Cancel::new().unwrap());
                        assert_eq!(exit.unwrap(), Exit::Code(0));
                        start.elapsed().as_micros()
                    })
                    .collect();
                times.sort_unstable();
                format!("{who} {network:?}: best {} median {} worst {} µs", times[0], times[100], times[199])
            });
            println!("{}", said.unwrap_or_default());
        }
    }
}
