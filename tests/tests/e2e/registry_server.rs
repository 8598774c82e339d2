//! A registry that lives as long as a test, pushing to it, and a line to it that breaks.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = "docker-registry";

/// Whether there is a registry to test with.
pub fn available() -> bool {
    kiln_tests::has_tool(PROGRAM).is_some()
}

/// A registry on a loopback port.
pub struct Registry {
    child: Child,
    port: u16,
    login: Option<String>,
    _directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts one; with a login, nothing is to be had without it.
    pub fn start(login: Option<(&str, &str)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            directory.path().join("data").display()
        );
        if let Some((user, password)) = login {
            let passwords = directory.path().join("htpasswd");
            // The registry takes bcrypt only, which Debian's crypt has.
            let script = "print crypt($ARGV[0], '$2y$05$abcdefghijklmnopqrstuu')";
            let hash = Command::new("perl").args(["-e", script, password]).output().unwrap();
            let hash = String::from_utf8(hash.stdout).unwrap();
            assert!(hash.starts_with("$2y$"), "perl knows no bcrypt: {hash:?}");
            std::fs::write(&passwords, format!("{user}:{hash}\n")).unwrap();
            text.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", passwords.display()));
        }
        let config = directory.path().join("config.yml");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(PROGRAM);
        let command = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{PROGRAM} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        use base64::Engine as _;
        let encode = |(user, password)| base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        Registry { child, port, login: login.map(encode), _directory: directory }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes the image of an OCI layout, or its index with all images; gives the digest of its manifest.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str) -> String {
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let blob = |digest: &str| {
            std::fs::read(layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())).unwrap()
        };
        self.push_manifest(repository, tag, &blob(&digest), &blob);
        digest
    }

    fn push_manifest(&self, repository: &str, name: &str, bytes: &[u8], blob: &dyn Fn(&str) -> Vec<u8>) {
        let manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        for image in manifest["manifests"].as_array().into_iter().flatten() {
            let digest = image["digest"].as_str().unwrap();
            self.push_manifest(repository, digest, &blob(digest), blob);
        }
        let config = manifest.get("config");
        for part in manifest["layers"].as_array().into_iter().flatten().chain(config) {
            let digest = part["digest"].as_str().unwrap();
            self.push_blob(repository, digest, &blob(digest));
        }
        let kind = manifest["mediaType"].as_str().unwrap();
        let place = format!("/v2/{repository}/manifests/{name}");
        let (status, _) = self.request("PUT", &place, &format!("Content-Type: {kind}\r\n"), bytes);
        assert_eq!(status, 201);
    }

    /// Uploads in one piece: POST for a place, PUT to it.
    fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let (status, head) = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(status, 202, "{head}");
        let place = head
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("location")))
            .map(|(_, place)| place.trim().to_owned())
            .unwrap();
        let path = place.strip_prefix(&format!("http://{}", self.host())).unwrap();
        let joint = if path.contains('?') { '&' } else { '?' };
        let kind = "Content-Type: application/octet-stream\r\n";
        let (status, head) = self.request("PUT", &format!("{path}{joint}digest={digest}"), kind, bytes);
        assert_eq!(status, 201, "{head}");
    }

    /// One request on a connection of its own; gives the status and the head of the answer.
    fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let login = self.login.as_ref().map(|login| format!("Authorization: Basic {login}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{login}{headers}\r\n",
            self.host(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let head = text.split("\r\n\r\n").next().unwrap().to_owned();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
    }
}

/// A line to a registry on which each connection breaks after so many bytes of answers.
pub struct Breaking {
    port: u16,
    counts: Arc<(AtomicUsize, AtomicU64)>,
}

impl Breaking {
    pub fn start(registry: &Registry, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, counts) = (registry.port, Arc::new((AtomicUsize::new(0), AtomicU64::new(0))));
        let seen = counts.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || pass(&client, target, after, &seen));
            }
        });
        Breaking { port, counts }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections were broken.
    pub fn broken(&self) -> usize {
        self.counts.0.load(Ordering::SeqCst)
    }

    /// How many bytes of answers passed.
    pub fn passed(&self) -> u64 {
        self.counts.1.load(Ordering::SeqCst)
    }
}

fn pass(client: &TcpStream, target: u16, after: usize, counts: &(AtomicUsize, AtomicU64)) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let (mut questions, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut questions, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to) = (&server, client);
    let mut buffer = [0; 16 << 10];
    let mut left = after;
    while left > 0 {
        let wanted = left.min(buffer.len());
        let Ok(count) = from.read(&mut buffer[..wanted]) else { break };
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        counts.1.fetch_add(count as u64, Ordering::SeqCst);
        left -= count;
    }
    if left == 0 {
        counts.0.fetch_add(1, Ordering::SeqCst);
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}
