//! The builder's side of one execution: starts it, passes on what it prints, stops it, and says how it ended.

use super::child::Child;
use super::error::{Action, Error};
use super::host::Host;
use super::launch::Launch;
use super::network::Network as NetworkUse;
use super::program::{Program, compile};
use super::report::{MESSAGE_BYTES, Report, Stage};
use super::spec::{Exit, Network, Spec};
use super::sys::{self, Side};
use super::trace::{Reached, Traced, Tracer};
use crate::cancel::Cancel;
use crate::event::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// How much output is read at once, in bytes: what a pipe holds.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Runs one command in a sandbox and waits for it. `output` gets what it prints, as it comes.
///
/// The caller is root, or has called [`super::enter_user_namespace`]. When this returns, nothing of the
/// step runs any more, and what it changed is in `spec.upper`.
///
/// # Errors
/// When the sandbox cannot be made, the command cannot be started, or `cancel` was used. A command that
/// fails is no error.
pub fn run(spec: &Spec, output: &mut dyn FnMut(Stream, &[u8]), cancel: &Cancel) -> Result<Exit, Error> {
    run_traced(spec, None, output, cancel).map(|(exit, _)| exit)
}

/// As [`run`], and watches what the command looks at, if there is a tracer.
///
/// # Errors
/// As [`run`].
pub fn run_traced(
    spec: &Spec,
    tracer: Option<Tracer>,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<(Exit, Option<Traced>), Error> {
    let (stdout, to_stdout) = pipe()?;
    let (stderr, to_stderr) = pipe()?;
    let streams = Attached { stdin: None, stdout: to_stdout, stderr: to_stderr, foreground: false };
    let exit = execute(spec, tracer.as_ref(), (streams, [stdout, stderr]), output, (cancel, None));
    let (exit, reached) = exit?;
    Ok((exit, tracer.map(|tracer| tracer.finish(reached))))
}

/// What a command reads and writes directly.
#[derive(Debug)]
pub struct Attached {
    /// What it reads; nothing where absent.
    pub stdin: Option<OwnedFd>,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
    /// It is to be the terminal's foreground, where one of them is a terminal: it stays in the caller's session.
    pub foreground: bool,
}

impl Attached {
    /// The standard streams of this process, as the terminal's foreground.
    ///
    /// # Errors
    /// One of them is closed.
    pub fn standard() -> io::Result<Self> {
        Ok(Attached {
            stdin: Some(copy_of(&io::stdin())?),
            stdout: copy_of(&io::stdout())?,
            stderr: copy_of(&io::stderr())?,
            foreground: true,
        })
    }

    /// Nothing to read, and both outputs to the standard error of this process.
    ///
    /// # Errors
    /// It is closed.
    pub fn to_stderr() -> io::Result<Self> {
        let (stdout, stderr) = (copy_of(&io::stderr())?, copy_of(&io::stderr())?);
        Ok(Attached { stdin: None, stdout, stderr, foreground: false })
    }
}

fn copy_of(stream: &impl AsFd) -> io::Result<OwnedFd> {
    /// Those below are the standard streams' own.
    const FIRST: i32 = 3;
    Ok(rustix::io::fcntl_dupfd_cloexec(stream, FIRST)?)
}

/// As [`run`], but for the streams, which are the command's own. With `terminate` the command gets SIGTERM and
/// may end as it likes; with `cancel` it is gone at once.
///
/// # Errors
/// As [`run`].
pub fn run_attached(spec: &Spec, streams: Attached, terminate: &Cancel, cancel: &Cancel) -> Result<Exit, Error> {
    // Nobody writes these: they are at their end from the start.
    let nothing = [pipe()?.0, pipe()?.0];
    execute(spec, None, (streams, nothing), &mut |_, _| (), (cancel, Some(terminate))).map(|(exit, _)| exit)
}

fn execute(
    spec: &Spec,
    tracer: Option<&Tracer>,
    (streams, [stdout, stderr]): (Attached, [OwnedFd; 2]),
    output: &mut dyn FnMut(Stream, &[u8]),
    (cancel, terminate): (&Cancel, Option<&Cancel>),
) -> Result<(Exit, Reached), Error> {
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let host = Host::get()?;
    let watched = tracer.map(Tracer::descriptors).unwrap_or_default();
    let program = compile(spec, host, &resolv_conf(spec.network)?, &watched)?;
    // A network of its own reaches nobody.
    let tells = tracer.is_some() && spec.network == Network::Host;
    let launch = Launch::new(spec, host, tells)?;
    let network = if spec.network == Network::None { libc::CLONE_NEWNET } else { 0 };

    let (status, to_status) = pipe()?;
    let [told, tell] = if tells { handover()?.map(Some) } else { [None, None] };
    let mut inside = Child::new(&program, &launch, streams, to_status, tell, host.arguments.clone());
    // SAFETY: the child does nothing but `Child::main`, which keeps the promise and does not return.
    let (child, pid) = match unsafe { sys::fork(sys::NAMESPACES | network) } {
        Ok(Side::Parent { child, pid }) => (child, pid),
        // SAFETY: this is the child.
        Ok(Side::Child) => unsafe { inside.main() },
        Err(errno) => return Err(Error::host("create the namespaces of a step")(errno)),
    };
    // The writing ends: only the child has them now, so that their closing tells of its end.
    drop(inside);
    let telling = if tells { Telling::Awaited(told) } else { Telling::Closed(Reached::Nobody) };
    let streams = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
    let mut running = Running { child, pid, streams, status, telling };
    let (report, cancelled) = running.finish(output, cancel, terminate)?;
    let reached = running.telling.reached();
    let exit = match report {
        // The command had ended before it could be stopped; yet what it left may not be complete.
        _ if cancelled => Err(Error::Cancelled),
        Some(Report::Exited(code)) => Ok(Exit::Code(code)),
        Some(Report::Signalled(signal)) => Ok(Exit::Signal(signal)),
        Some(Report::Op { index, errno, text }) => Err(failed_op(&program, index, errno, text)),
        Some(Report::Launch { stage, errno }) => Err(failed_launch(spec, stage, errno)),
        None => Err(Error::Lost),
    };
    exit.map(|exit| (exit, reached))
}

/// A pair of sockets: the builder's, and the one that the command's process sends a descriptor over.
fn handover() -> Result<[OwnedFd; 2], Error> {
    let flags = SocketFlags::CLOEXEC;
    let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(Error::host("make a pair of sockets"))?;
    Ok([here, there])
}

/// How the builder is told of calls that reach other machines.
enum Telling {
    /// The descriptor by which it is told is not there yet.
    Awaited(Option<OwnedFd>),
    /// It is, and this was told so far.
    Open(OwnedFd, NetworkUse),
    /// Nothing is told any more.
    Closed(Reached),
}

impl Reached {
    fn of(known: &NetworkUse) -> Self {
        if known.used { Reached::Others } else { Reached::Nobody }
    }
}

impl Telling {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Telling::Awaited(socket) => socket.as_ref().map(AsFd::as_fd),
            Telling::Open(listener, _) => Some(listener.as_fd()),
            Telling::Closed(_) => None,
        }
    }

    /// Takes what there is to take. `hung_up` says that nothing comes any more.
    fn serve(&mut self, hung_up: bool) {
        match self {
            Telling::Awaited(Some(socket)) => {
                *self = match receive_descriptor(socket.as_fd()) {
                    Some(listener) => Telling::Open(listener, NetworkUse::default()),
                    // The kernel refused to tell: anything may have happened.
                    None => Telling::Closed(Reached::Unknown),
                };
            }
            Telling::Open(_, known) if hung_up => *self = Telling::Closed(Reached::of(known)),
            Telling::Open(listener, known) => known.serve(listener.as_fd()),
            Telling::Awaited(None) | Telling::Closed(_) => {}
        }
    }

    fn reached(&self) -> Reached {
        match self {
            Telling::Awaited(_) => Reached::Unknown,
            Telling::Open(_, known) => Reached::of(known),
            Telling::Closed(reached) => *reached,
        }
    }
}

/// The one descriptor that comes over a socket; `None` where it was closed without.
fn receive_descriptor(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).map_err(Error::host("make a pipe"))
}

/// What the step finds in `/etc/resolv.conf`: the builder's where it shares its network, nothing where
/// there is nobody to ask.
fn resolv_conf(network: Network) -> Result<Vec<u8>, Error> {
    if network == Network::None {
        return Ok(Vec::new());
    }
    match std::fs::read("/etc/resolv.conf") {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::Host { doing: "read /etc/resolv.conf", source }),
    }
}

struct Running {
    child: OwnedFd,
    /// Its number here.
    pid: i32,
    streams: [(Stream, OwnedFd); 2],
    status: OwnedFd,
    telling: Telling,
}

impl Running {
    /// Passes on output until the sandbox is gone, then collects it.
    fn finish(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
        terminate: Option<&Cancel>,
    ) -> Result<(Option<Report>, bool), Error> {
        let relayed = self.relay(output, cancel, terminate);
        if relayed.is_err() {
            // It cannot be followed any more, so it must not go on. It may have ended already.
            let _ = pidfd_send_signal(&self.child, Signal::KILL);
        }
        sys::wait(self.child.as_fd()).map_err(Error::host("wait for a step"))?;
        relayed
    }

    fn relay(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
        terminate: Option<&Cancel>,
    ) -> Result<(Option<Report>, bool), Error> {
        let mut buffer = vec![0; OUTPUT_BYTES];
        let mut message = [0; MESSAGE_BYTES];
        let (mut report, mut cancelled) = (None, false);
        // Indices: the two streams, the status, the cancellation, the wish to end, what is told. A pipe is done
        // when nobody can write it.
        let mut open = [true; 6];
        open[4] = terminate.is_some();
        let wish = terminate.unwrap_or(cancel).as_fd();
        while open[..3].contains(&true) {
            open[5] = self.telling.fd().is_some();
            let told = self.telling.fd().unwrap_or(cancel.as_fd());
            let streams = &self.streams;
            let fds = [streams[0].1.as_fd(), streams[1].1.as_fd(), self.status.as_fd(), cancel.as_fd(), wish, told];
            let (ready, hung_up) = wait_for(&fds, &open)?;
            if ready[5] {
                self.telling.serve(hung_up);
            }
            for (index, (stream, fd)) in self.streams.iter().enumerate() {
                if ready[index] {
                    let count = read(fd.as_fd(), &mut buffer)?;
                    open[index] = count > 0;
                    if count > 0 {
                        output(*stream, &buffer[..count]);
                    }
                }
            }
            if ready[2] {
                open[2] = read(self.status.as_fd(), &mut message)? == MESSAGE_BYTES;
                // The first one counts: a process that failed to start also ends.
                report = report.or_else(|| if open[2] { Report::decode(&message) } else { None });
            }
            if ready[3] {
                open[3] = false;
                cancelled = true;
                // Everything in a PID namespace dies with its first process. It may have ended already.
                let _ = pidfd_send_signal(&self.child, Signal::KILL);
            }
            if ready[4] {
                open[4] = false;
                self.ask_to_end();
            }
        }
        Ok((report, cancelled))
    }

    /// Sends SIGTERM to the command, the only child that the first process has made itself. Where it is not
    /// there yet, or its number is not told, everything ends at once.
    fn ask_to_end(&self) {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        let command = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let asked = command.is_some_and(|command| rustix::process::kill_process(command, Signal::TERM).is_ok());
        if !asked {
            let _ = pidfd_send_signal(&self.child, Signal::KILL);
        }
    }
}

/// Which of the open descriptors have something to read, or are closed on the other side; and whether
/// the last one is closed and has nothing to read.
fn wait_for(fds: &[BorrowedFd<'_>; 6], open: &[bool; 6]) -> Result<([bool; 6], bool), Error> {
    let asked: Vec<usize> = (0..fds.len()).filter(|index| open[*index]).collect();
    let mut polled: Vec<_> = asked.iter().map(|index| PollFd::from_borrowed_fd(fds[*index], PollFlags::IN)).collect();
    loop {
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            answer => {
                answer.map_err(Error::host("wait for a step's output"))?;
                break;
            }
        }
    }
    let mut ready = [false; 6];
    let mut hung_up = false;
    for (index, fd) in asked.iter().zip(&polled) {
        let events = fd.revents();
        ready[*index] = !events.is_empty();
        hung_up = events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN);
    }
    Ok((ready, hung_up && open[5]))
}

fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(Errno::INTR) => {}
            answer => return answer.map_err(Error::host("read a step's output")),
        }
    }
}

fn failed_op(program: &Program, index: usize, errno: i32, text: String) -> Error {
    let Some(op) = program.ops.get(index) else { return Error::Lost };
    let (action, path) = op.subject();
    let detail = (!text.is_empty()).then_some(text);
    Error::Setup { action, path, detail, source: io::Error::from_raw_os_error(errno) }
}

fn failed_launch(spec: &Spec, stage: Stage, errno: i32) -> Error {
    let program = spec.argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let source = io::Error::from_raw_os_error(errno);
    let (action, path) = match stage {
        Stage::Exec => return Error::Exec { program, source },
        Stage::Workdir => (Action::EnterWorkdir, spec.cwd.clone()),
        Stage::User => (Action::BecomeUser, format!("{}:{}", spec.user.uid, spec.user.gid).into()),
        Stage::Capabilities => (Action::DropCapabilities, PathBuf::from(program)),
        Stage::Filter => (Action::FilterCalls, PathBuf::from(program)),
        Stage::Descriptors | Stage::Spawn => (Action::Spawn, PathBuf::from(program)),
    };
    Error::Setup { action, path, detail: None, source }
}
