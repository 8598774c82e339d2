//! An HTTP server on loopback for what builds read from elsewhere: files with validators, and git repositories.
//!
//! Serves one directory. A path below `private/` needs the header that [`Server::AUTHORIZATION`] says, one below `git/` goes
//! to git's own `http-backend`. Written by hand because a test has to count requests and see their headers.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A running server; it serves until the program ends.
#[derive(Clone, Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Seen>>>,
}

/// A request and how it was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// `/file`
    pub path: String,
    /// 200, 304, …
    pub status: u16,
    /// The header of this name, where there was one.
    pub authorization: Option<String>,
}

struct Request {
    method: String,
    target: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut request = Request { method, target, headers, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            request.body = read_chunks(reader)?;
        } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok()) {
            request.body.resize(length, 0);
            reader.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn read_chunks(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// What is answered.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }
}

impl Server {
    /// The header that paths below `private/` ask for.
    pub const AUTHORIZATION: &str = "Bearer the-private-token";

    /// The time that is said of every file.
    pub const LAST_MODIFIED: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

    /// Begins to serve the files of `root`.
    ///
    /// # Errors
    /// Where there is no port to be had.
    pub fn start(root: &Path) -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Server { address: listener.local_addr()?, log: Arc::default() };
        let (root, own) = (root.to_owned(), server.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, server) = (root.clone(), own.clone());
                std::thread::spawn(move || {
                    // A client that goes away in the middle tells of its own error.
                    let _ = server.serve(&root, &stream);
                });
            }
        });
        Ok(server)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:port`
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// What was asked since the last call.
    pub fn take_log(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, root: &Path, mut stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let answer = answer(root, &request)?;
            let path = request.target.clone();
            let authorization = request.header("authorization").map(str::to_owned);
            let seen = Seen { path, status: answer.status, authorization };
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            write!(stream, "HTTP/1.1 {} Answer\r\n", answer.status)?;
            for (name, value) in &answer.headers {
                write!(stream, "{name}: {value}\r\n")?;
            }
            // What has no body by its status has no length either.
            if answer.status != 304 {
                write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
            }
            write!(stream, "\r\n")?;
            if request.method != "HEAD" {
                stream.write_all(&answer.body)?;
            }
        }
        Ok(())
    }
}

fn answer(root: &Path, request: &Request) -> io::Result<Answer> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = path.trim_start_matches('/');
    if path.split('/').any(|part| part == "..") {
        return Ok(Answer::empty(400));
    }
    if path.starts_with("private/") && request.header("authorization") != Some(Server::AUTHORIZATION) {
        return Ok(Answer::empty(401));
    }
    if let Some(repository) = path.strip_prefix("git/") {
        return git(&root.join("git"), repository, query, request);
    }
    let Ok(body) = fs::read(root.join(path)) else { return Ok(Answer::empty(404)) };
    let digest = Sha256::digest(&body);
    let etag = format!("\"{:02x}{:02x}{:02x}{:02x}\"", digest[0], digest[1], digest[2], digest[3]);
    if request.header("if-none-match") == Some(&etag) {
        return Ok(Answer { headers: vec![("ETag".to_owned(), etag)], ..Answer::empty(304) });
    }
    let headers = [("ETag", etag.as_str()), ("Last-Modified", Server::LAST_MODIFIED)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Ok(Answer { status: 200, headers, body })
}

/// What git's CGI program answers (gitprotocol-http, git-http-backend).
fn git(root: &Path, path: &str, query: &str, request: &Request) -> io::Result<Answer> {
    let mut command = Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", format!("/{path}"));
    command.env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method).env("REMOTE_USER", "");
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    for (variable, header) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        command.env(variable, request.header(header).unwrap_or_default());
    }
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(&request.body)));
        child.wait_with_output()
    })?;
    let mut reader = BufReader::new(&*output.stdout);
    let mut answer = Answer::empty(200);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match (name, value.trim().split(' ').next().and_then(|code| code.parse().ok())) {
            ("Status", Some(code)) => answer.status = code,
            _ => answer.headers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    reader.read_to_end(&mut answer.body)?;
    Ok(answer)
}

/// A git repository at `root/git/name`, with these commits: each writes its files, with fixed names and times.
///
/// # Panics
/// Where git fails: no test can go on then.
#[expect(clippy::expect_used, reason = "a test without its repository has failed")]
pub fn repository(root: &Path, name: &str, commits: &[&[(&str, &str)]]) -> PathBuf {
    let place = root.join("git").join(name);
    fs::create_dir_all(&place).expect("a directory for the repository");
    run_git(&place, &["init", "-q", "-b", "main"]);
    // So that a commit can be asked for by its name.
    run_git(&place, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    for (number, files) in commits.iter().enumerate() {
        for (path, content) in *files {
            let path = place.join(path);
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("its directory");
            fs::write(path, content).expect("a file");
        }
        run_git(&place, &["add", "-A"]);
        run_git(&place, &["commit", "-q", "--allow-empty", "-m", &format!("commit {number}")]);
    }
    place
}

/// Runs git in `place` with names and times that do not change, and gives what it printed.
///
/// # Panics
/// Where git fails.
#[expect(clippy::expect_used, reason = "a test without its repository has failed")]
pub fn run_git(place: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "protocol.file.allow=always"]).args(args).current_dir(place);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "kiln").env(format!("GIT_{role}_EMAIL"), "kiln@example.com");
        command.env(format!("GIT_{role}_DATE"), "2020-01-02T03:04:05Z");
    }
    let output = command.output().expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
