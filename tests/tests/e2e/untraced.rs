//! Kernels that lack what watching a step needs: each part is taken away, and builds go on, say so once, and are right.

use kiln_tests::{Build, Kiln, Project, has_tool, skip};
use std::process::Command;

/// `/dev` without a `/dev/fuse`, made in the directory that is the first argument.
const NO_DEVICE: &str = "d=$1; shift; mount -t tmpfs none $d
    for n in null zero full random urandom tty; do touch $d/$n; mount --bind /dev/$n $d/$n; done
    mkdir $d/pts $d/shm $d/mqueue; ln -s /proc/self/fd $d/fd; mount --move $d /dev; exec \"$@\"";

/// A `/dev/fuse` that can be opened and that no file system can be mounted with.
const NO_MOUNT: &str = "d=$1; shift; : > $d/file; mount --bind $d/file /dev/fuse; exec \"$@\"";

/// Runs what is behind the first argument with `seccomp` refusing listeners, as below a filter that has one.
const NO_LISTENER: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def step(code, yes, no, k): return struct.pack('HBBI', code, yes, no, k)
# The number of the call; seccomp; its flags; a listener among them: EINVAL, else all is allowed.
steps = [step(0x20, 0, 0, 0), step(0x15, 0, 3, 317), step(0x20, 0, 0, 24), step(0x45, 0, 1, 8),
         step(0x06, 0, 0, 0x00050016), step(0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(steps))
class Program(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
if libc.prctl(22, 2, ctypes.byref(program)) != 0: raise OSError(ctypes.get_errno(), 'prctl')
os.execvp(sys.argv[1], sys.argv[1:])
";

/// A part that is taken away: how the program is run then, and what is said of it.
struct Fault {
    wrapper: Vec<String>,
    said: &'static str,
}

fn project() -> Project {
    Project::new(&[
        (
            "Dockerfile",
            "FROM kiln/host\nCOPY . /w\nRUN cat /w/read > /one\nRUN --mount=type=bind,target=/m cat /m/read > /two\nRUN cat /one /two > /three\n",
        ),
        (".dockerignore", "Dockerfile\n"),
        ("read", "1\n"),
        ("unread", "1\n"),
    ])
}

fn build(kiln: &Kiln, project: &Project, fault: Option<&Fault>) -> Build {
    match fault {
        None => kiln.build([project.path()]).ok(),
        Some(fault) => kiln.build_below(&fault.wrapper, [project.path()]).ok(),
    }
}

fn warnings(build: &Build) -> Vec<&str> {
    let all = build.events.iter().filter(|event| event["event"] == "warning");
    all.filter_map(|event| event["message"].as_str()).collect()
}

fn runs(build: &Build) -> usize {
    build.ran_steps().iter().filter(|line| line.starts_with("RUN")).count()
}

/// Builds with the fault and without it, by turns.
fn goes_on(fault: &Fault) {
    let (kiln, clean, project) = (Kiln::new(), Kiln::new(), project());
    let (kiln, clean) = (kiln.env("SOURCE_DATE_EPOCH", "1"), clean.env("SOURCE_DATE_EPOCH", "1"));
    let agrees = |found: &Build| assert_eq!(found.image(), build(&clean, &project, None).image());
    let first = build(&kiln, &project, Some(fault));
    assert_eq!(runs(&first), 3);
    let said = warnings(&first);
    assert!(said.len() == 1 && said[0].contains(fault.said), "{said:?}");
    agrees(&first);
    project.write("unread", "2\n");
    let second = build(&kiln, &project, Some(fault));
    assert_eq!(runs(&second), 3, "all that is below and mounted counts: {:#?}", second.verdicts());
    assert_eq!(warnings(&second).len(), 1);
    agrees(&second);
    let again = build(&kiln, &project, Some(fault));
    assert_eq!((runs(&again), warnings(&again).len()), (0, 0), "what runs nothing needs no watching");
    // Where nothing is amiss nothing of all that is believed.
    project.write("unread", "3\n");
    let third = build(&kiln, &project, None);
    assert_eq!(runs(&third), 3, "{:#?}", third.verdicts());
    assert_eq!(warnings(&third), Vec::<&str>::new());
    agrees(&third);
    project.write("unread", "4\n");
    let fourth = build(&kiln, &project, None);
    assert_eq!(runs(&fourth), 0, "{:#?}", fourth.verdicts());
    agrees(&fourth);
    project.write("read", "2\n");
    let fifth = build(&kiln, &project, Some(fault));
    assert_eq!(runs(&fifth), 3, "{:#?}", fifth.verdicts());
    agrees(&fifth);
}

/// Whether mounts can be hidden here from one program.
fn can_hide() -> Option<()> {
    has_tool("unshare")?;
    let can = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|ran| ran.status.success());
    (can || !skip("a mount namespace")).then_some(())
}

fn hidden(script: &str, directory: &std::path::Path) -> Vec<String> {
    let directory = directory.display().to_string();
    ["unshare", "-m", "sh", "-ec", script, "sh", &directory].map(str::to_owned).to_vec()
}

#[test]
fn without_a_device_of_fuse_builds_go_on_and_say_so_once() {
    let Some(()) = can_hide() else { return };
    let place = tempfile::tempdir().unwrap();
    goes_on(&Fault { wrapper: hidden(NO_DEVICE, place.path()), said: "/dev/fuse cannot be opened" });
}

#[test]
fn where_no_file_system_can_be_mounted_builds_go_on_and_say_so_once() {
    let Some(()) = can_hide() else { return };
    let place = tempfile::tempdir().unwrap();
    goes_on(&Fault { wrapper: hidden(NO_MOUNT, place.path()), said: "a FUSE file system cannot be mounted" });
}

#[test]
fn where_the_kernel_tells_of_no_call_builds_go_on_and_say_so_once() {
    if !cfg!(target_arch = "x86_64") || has_tool("python3").is_none() || can_hide().is_none() {
        return;
    }
    let wrapper = ["python3", "-c", NO_LISTENER].map(str::to_owned).to_vec();
    goes_on(&Fault { wrapper, said: "the kernel refuses a seccomp listener" });
}
