//! Lends a step the user's ssh agent: lists of keys and signatures, and nothing else.
//!
//! A step talks to a socket of kiln's own, which passes on the two requests that a login needs and refuses all others,
//! so that no step can add, remove or lock keys (BuildKit's forwarding does the same). Key files are served by an
//! `ssh-agent` of the build's own. Requests are numbered as in the protocol's draft (draft-ietf-sshm-ssh-agent).

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The requests that are passed on.
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

/// The answer to all others: a message of one byte, `SSH_AGENT_FAILURE`.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// The longest message, in bytes, as in OpenSSH.
const MESSAGE_MAX_BYTES: usize = 256 << 10;

/// The name of the socket in its directory.
pub const SOCKET_NAME: &str = "agent";

/// How long an agent of our own may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A socket on which an agent is lent; dropping it ends the loan.
pub struct Loan {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Loan {
    /// Serves the agent behind the socket `agent` on a new socket in the directory `place`, with this mode and owner.
    pub fn start(agent: &Path, place: &Path, mode: u32, (uid, gid): (u32, u32)) -> io::Result<Loan> {
        // Asked before a step fails on it.
        UnixStream::connect(agent)?;
        let directory = fs::File::open(place)?;
        // The whole path may be longer than an address can be.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd()));
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let socket = place.join(SOCKET_NAME);
        std::os::unix::fs::chown(&socket, Some(uid), Some(gid))?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(mode))?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (agent, seen) = (agent.to_path_buf(), stop.clone());
        let thread = std::thread::Builder::new().name("kiln-agent".to_owned());
        let thread = thread.spawn(move || accept(&listener, &agent, &seen))?;
        Ok(Loan { stop, thread: Some(thread) })
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Readable from now on, for every thread that waits for it.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for `stream` to have something; false where the loan has ended.
fn ready(stream: &impl AsFd, stop: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return fds[1].revents().is_empty(),
        }
    }
}

fn accept(listener: &UnixListener, agent: &Path, stop: &Arc<OwnedFd>) {
    let mut threads = Vec::new();
    while ready(listener, stop) {
        let Ok((client, _)) = listener.accept() else { continue };
        let (agent, stop) = (agent.to_path_buf(), stop.clone());
        let serve = move || {
            // A client that goes away, or an agent that does: the other side sees its stream end.
            let _ = client.set_nonblocking(false).and_then(|()| serve(client, &agent, &stop));
        };
        threads.extend(std::thread::Builder::new().name("kiln-agent".to_owned()).spawn(serve));
    }
    threads.into_iter().for_each(|thread: JoinHandle<()>| drop(thread.join()));
}

fn serve(mut client: UnixStream, agent: &Path, stop: &OwnedFd) -> io::Result<()> {
    let mut agent = UnixStream::connect(agent)?;
    while ready(&client, stop) {
        let Some(request) = message(&mut client)? else { return Ok(()) };
        if !matches!(request.first(), Some(&REQUEST_IDENTITIES | &SIGN_REQUEST)) {
            client.write_all(&FAILURE)?;
            continue;
        }
        send(&mut agent, &request)?;
        // An agent may ask its user for consent, for however long.
        if !ready(&agent, stop) {
            return Ok(());
        }
        let Some(answer) = message(&mut agent)? else { return Ok(()) };
        send(&mut client, &answer)?;
    }
    Ok(())
}

/// One message; `None` at the end of the stream.
fn message(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > MESSAGE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of an impossible length"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}

fn send(stream: &mut UnixStream, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], body].concat())
}

/// An agent of our own, which holds key files and ends with this value.
pub struct OwnAgent {
    child: Child,
    socket: PathBuf,
}

/// Why key files cannot be served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AgentError {
    #[error("cannot serve key files: there is no {0} on this machine")]
    Missing(&'static str),
    #[error("ssh-agent did not start")]
    Silent,
    #[error("ssh-add refused {}: {said}", path.display())]
    Refused { path: PathBuf, said: String },
    #[error("failed to run {program}")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
}

fn run_failed(program: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => AgentError::Missing(program),
        _ => AgentError::Run { program, source },
    }
}

impl OwnAgent {
    /// Starts an agent with these keys; its socket is in the directory `place`, whose path is short.
    pub fn start(keys: &[PathBuf], place: &Path) -> Result<OwnAgent, AgentError> {
        let socket = place.join("own");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let own = OwnAgent { child: child.map_err(run_failed("ssh-agent"))?, socket };
        let started = Instant::now();
        while UnixStream::connect(&own.socket).is_err() {
            if started.elapsed() > START_LIMIT {
                return Err(AgentError::Silent);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for key in keys {
            let mut command = Command::new("ssh-add");
            command.arg("-q").arg("--").arg(key);
            // A key with a passphrase is refused, not asked for.
            command.env("SSH_AUTH_SOCK", &own.socket).env("SSH_ASKPASS_REQUIRE", "never").env_remove("SSH_ASKPASS");
            let output = command.stdin(Stdio::null()).output().map_err(run_failed("ssh-add"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().map(str::trim).filter(|line| line.chars().any(char::is_alphanumeric));
                let said = said.take(3).collect::<Vec<_>>().join("; ");
                let said = if said.is_empty() { "it wants a passphrase".to_owned() } else { said };
                return Err(AgentError::Refused { path: key.clone(), said });
            }
        }
        Ok(own)
    }

    /// Where it answers.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers every request with its own number behind a 99.
    fn echo(path: &Path) -> std::thread::JoinHandle<Vec<u8>> {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            let mut asked = Vec::new();
            // The first connection only tries whether somebody is there.
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            while let Ok(Some(request)) = message(&mut stream) {
                asked.push(request[0]);
                send(&mut stream, &[99, request[0]]).unwrap();
            }
            asked
        })
    }

    #[test]
    fn a_loan_passes_lists_and_signatures_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let agent = echo(&dir.path().join("real"));
        let place = dir.path().join("place");
        fs::create_dir(&place).unwrap();
        let loan = Loan::start(&dir.path().join("real"), &place, 0o600, (0, 0));
        let Ok(loan) = loan else { return };
        let mut client = UnixStream::connect(place.join(SOCKET_NAME)).unwrap();
        let mut ask = |request: &[u8]| {
            send(&mut client, request).unwrap();
            message(&mut client).unwrap().unwrap()
        };
        assert_eq!(ask(&[REQUEST_IDENTITIES]), [99, REQUEST_IDENTITIES]);
        // Add, remove, remove all, lock, extension.
        for request in [17, 18, 19, 22, 25, 27] {
            assert_eq!(ask(&[request, 0, 0]), [5], "{request}");
        }
        assert_eq!(ask(&[SIGN_REQUEST, 1, 2]), [99, SIGN_REQUEST]);
        assert_eq!(fs::metadata(place.join(SOCKET_NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        drop(loan);
        assert_eq!(agent.join().unwrap(), [REQUEST_IDENTITIES, SIGN_REQUEST]);
        assert!(UnixStream::connect(place.join(SOCKET_NAME)).is_err(), "the loan has ended");
    }

    #[test]
    fn an_agent_that_is_not_there_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Loan::start(&dir.path().join("none"), dir.path(), 0o600, (0, 0)).is_err());
    }
}
