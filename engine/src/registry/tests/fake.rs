//! A registry on a loopback port whose every answer a test can replace, and images to put into it.

use super::super::*;
use crate::digest::Sha256;
use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a client sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: String,
    headers: HashMap<String, String>,
    pub(super) body: String,
    /// How many requests for this path came before.
    pub(super) earlier: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn forget(&mut self, header: &str) {
        self.headers.remove(header);
    }

    pub(super) fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What is sent back.
#[derive(Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Sends only so many bytes of the body, then closes the connection.
    pub(super) cut: Option<usize>,
    /// Falls silent for so long after `cut` bytes.
    pub(super) stall: Option<Duration>,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn cut_at(self, cut: usize) -> Self {
        Reply { cut: Some(cut), ..self }
    }
}

/// A server that runs until it is dropped.
pub(super) struct Fake {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Fake {
    pub(super) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handler = Arc::new(handler);
        let (log, ended) = (seen.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || {
                    // A client that goes away is no failure of the server.
                    let _ = serve(&stream.unwrap(), &log, &*handler);
                });
            }
        });
        Fake { port, seen, stop }
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn reference(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.host())).unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path.contains(path)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Seen>>, handler: &dyn Fn(&Seen) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap();
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let seen = {
        let mut log = log.lock().unwrap();
        let earlier = log.iter().filter(|seen| seen.path == path).count();
        let body = String::from_utf8(body).unwrap();
        let seen = Seen { method, path: path.to_owned(), query: query.to_owned(), headers, body, earlier };
        log.push(seen.clone());
        seen
    };
    let reply = handler(&seen);
    let mut head = format!("HTTP/1.1 {} Fake\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    if let Some(stall) = reply.stall {
        std::thread::sleep(stall);
    }
    stream.flush()
}

/// What a registry holds, by the path that it is asked for by.
#[derive(Clone, Default)]
pub(super) struct Content {
    files: BTreeMap<String, (String, Vec<u8>)>,
}

impl Content {
    /// An image with these layers' tars, packed with gzip, below a tag and its digest. Gives the manifest's descriptor.
    pub(super) fn add_image(&mut self, repository: &str, tag: &str, platform: &str, tars: &[&[u8]]) -> Descriptor {
        let mut parts = platform.split('/');
        let (os, arch) = (parts.next().unwrap(), parts.next().unwrap());
        let diff_ids: Vec<String> = tars.iter().map(|tar| Sha256::of(tar).to_string()).collect();
        let config =
            serde_json::json!({"os": os, "architecture": arch, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.add_blob(repository, OCI_CONFIG, config.to_string().into_bytes());
        let layers: Vec<_> = tars.iter().map(|tar| self.add_blob(repository, OCI_GZIP, gzip(tar))).collect();
        let layers: Vec<_> = layers.iter().map(json).collect();
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": json(&config), "layers": layers});
        self.add_manifest(repository, tag, OCI_MANIFEST, manifest.to_string().into_bytes())
    }

    pub(super) fn add_index(&mut self, repository: &str, tag: &str, images: &[(&str, &Descriptor)]) -> Descriptor {
        let manifests: Vec<_> = images
            .iter()
            .map(|(platform, image)| {
                let mut entry = json(image);
                let mut parts = platform.split('/');
                entry["platform"] =
                    serde_json::json!({"os": parts.next(), "architecture": parts.next(), "variant": parts.next()});
                entry
            })
            .collect();
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        self.add_manifest(repository, tag, OCI_INDEX, index.to_string().into_bytes())
    }

    pub(super) fn add_manifest(&mut self, repository: &str, tag: &str, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let (digest, size) = (Sha256::of(&bytes), bytes.len() as u64);
        let file = (media_type.to_owned(), bytes);
        for name in [tag.to_owned(), digest.to_string()] {
            self.files.insert(format!("/v2/{repository}/manifests/{name}"), file.clone());
        }
        Descriptor { digest, size, media_type: media_type.to_owned(), urls: Vec::new() }
    }

    pub(super) fn add_blob(&mut self, repository: &str, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let (digest, size) = (Sha256::of(&bytes), bytes.len() as u64);
        self.files.insert(format!("/v2/{repository}/blobs/{digest}"), (media_type.to_owned(), bytes));
        Descriptor { digest, size, media_type: media_type.to_owned(), urls: Vec::new() }
    }

    /// Answers as a registry without faults, ranges included.
    pub(super) fn answer(&self, seen: &Seen) -> Reply {
        let Some((media_type, bytes)) = self.files.get(&seen.path) else {
            return Reply::new(404, r#"{"errors":[{"code":"UNKNOWN","message":"no such thing"}]}"#);
        };
        let start =
            seen.header("range").map(|range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
        match start {
            None => Reply::new(200, bytes.clone())
                .with("Content-Type", media_type)
                .with("Docker-Content-Digest", Sha256::of(bytes).to_string()),
            Some(start) => Reply::new(206, &bytes[start..])
                .with("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
        }
    }
}

pub(super) fn json(descriptor: &Descriptor) -> serde_json::Value {
    let digest = descriptor.digest.to_string();
    serde_json::json!({"mediaType": descriptor.media_type, "digest": digest, "size": descriptor.size})
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// Waits short enough for tests; logins only where a test sets a file.
pub(super) fn options() -> Options {
    Options {
        timeouts: Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(5) },
        retry: Retry { attempts: 4, first_delay: Duration::from_millis(4), longest_delay: Duration::from_secs(2) },
        ..Options::default()
    }
}

pub(super) fn client() -> Client {
    Client::new(options()).unwrap()
}

/// A client and what it warns of.
pub(super) fn listening(options: Options) -> (Client, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let client = Client::new(options).unwrap().on_warning(move |warning| ear.lock().unwrap().push(warning.to_string()));
    (client, heard)
}

/// Keeps a blob, and how it came.
#[derive(Default)]
pub(super) struct Sink {
    pub(super) bytes: Vec<u8>,
    pub(super) restarts: usize,
    pub(super) finished: bool,
}

impl BlobSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.bytes.clear();
        self.restarts += 1;
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        assert!(!self.finished, "finished twice");
        self.finished = true;
        Ok(())
    }
}

/// Hands what it takes to a map when it is finished.
pub(super) struct Shelf<'a> {
    pub(super) digest: Sha256,
    pub(super) bytes: Vec<u8>,
    pub(super) shelf: &'a Mutex<HashMap<Sha256, Vec<u8>>>,
}

impl BlobSink for Shelf<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.bytes.clear();
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        let earlier = self.shelf.lock().unwrap().insert(self.digest, std::mem::take(&mut self.bytes));
        assert!(earlier.is_none(), "{} was fetched twice", self.digest);
        Ok(())
    }
}

/// Fetches all layers of an image, four at a time, and gives the tar of each.
pub(super) fn pull(client: &Client, resolved: &Resolved) -> Result<Vec<Vec<u8>>, Error> {
    let shelf = Mutex::new(HashMap::new());
    let open = |layer: &Layer| -> std::io::Result<Option<Box<dyn BlobSink + '_>>> {
        Ok(Some(Box::new(Shelf { digest: layer.digest, bytes: Vec::new(), shelf: &shelf })))
    };
    client.fetch_layers(&resolved.reference, &resolved.layers, 4, &open, &|_, _| ())?;
    let shelf = shelf.lock().unwrap();
    let unpack = |layer: &Layer| {
        let mut tar = Vec::new();
        let mut unpacked = Unpacked::new(&shelf[&layer.digest][..], layer.diff_id).unwrap();
        unpacked.read_to_end(&mut tar).unwrap();
        unpacked.finish().unwrap();
        tar
    };
    Ok(resolved.layers.iter().map(unpack).collect())
}
