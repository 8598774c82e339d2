//! A registry on loopback from which kiln takes the bases that Docker has: so that both begin with the
//! same bytes, whatever the image is.
//!
//! Speaks as much of the distribution protocol as pulling needs. Knows nothing of cases.

use super::image::{Files, ReadError};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Finds the archive of an image (`busybox:latest`); `None` where there is no such image.
pub type Finder = Box<dyn Fn(&str) -> Option<PathBuf> + Send + Sync>;

/// A running mirror; it serves until the program ends.
#[derive(Clone, Debug)]
pub struct Mirror {
    address: SocketAddr,
}

struct State {
    find: Finder,
    images: Mutex<HashMap<String, Option<String>>>,
    blobs: Mutex<HashMap<String, Blob>>,
}

/// Where the bytes of a digest are.
#[derive(Clone)]
enum Blob {
    Bytes(Arc<Vec<u8>>),
    Member { files: Arc<Files>, name: String, size: u64 },
}

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

impl Mirror {
    /// Begins to serve what `find` finds.
    pub fn start(find: Finder) -> io::Result<Mirror> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { find, images: Mutex::default(), blobs: Mutex::default() });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    // A client that goes away in the middle tells of its own error.
                    let _ = state.serve(&stream);
                });
            }
        });
        Ok(Mirror { address })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            let mut words = request.split_whitespace();
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            self.answer(stream, method == "HEAD", target.split('?').next().unwrap_or_default())?;
        }
    }

    fn answer(&self, mut stream: &TcpStream, head: bool, target: &str) -> io::Result<()> {
        let path = target.strip_prefix("/v2/").unwrap_or_default();
        let found = if path.is_empty() {
            Some((Blob::Bytes(Arc::new(b"{}".to_vec())), String::new(), "application/json"))
        } else if let Some((name, reference)) = path.rsplit_once("/manifests/") {
            let digest = match reference.starts_with("sha256:") {
                true => Some(reference.to_owned()),
                false => self.image(&format!("{}:{reference}", name.trim_start_matches("library/"))),
            };
            digest.and_then(|digest| Some((self.blob(&digest)?, digest, MANIFEST_TYPE)))
        } else {
            let digest = path.rsplit_once("/blobs/").map(|(_, digest)| digest.to_owned());
            digest.and_then(|digest| Some((self.blob(&digest)?, digest, "application/octet-stream")))
        };
        let Some((blob, digest, media_type)) = found else {
            let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such image"}]}"#;
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                body.len(),
                if head { "" } else { body }
            );
        };
        let size = match &blob {
            Blob::Bytes(bytes) => bytes.len() as u64,
            Blob::Member { size, .. } => *size,
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: {size}\r\n\r\n"
        )?;
        if head {
            return Ok(());
        }
        let mut reader: Box<dyn Read> = match &blob {
            Blob::Bytes(bytes) => Box::new(bytes.as_slice()),
            Blob::Member { files, name, .. } => match files.file(name).map_err(io::Error::other)? {
                Some((reader, _)) => reader,
                None => return Err(io::ErrorKind::NotFound.into()),
            },
        };
        io::copy(&mut reader, &mut stream).map(drop)
    }

    fn blob(&self, digest: &str) -> Option<Blob> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn keep(&self, digest: String, blob: Blob) {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, blob);
    }

    /// The digest of an image's manifest.
    fn image(&self, name: &str) -> Option<String> {
        // The lock is held meanwhile, so that each image is taken out of Docker once.
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = images.get(name) {
            return known.clone();
        }
        let digest = (self.find)(name).and_then(|archive| self.load(&archive).ok().flatten());
        images.insert(name.to_owned(), digest.clone());
        digest
    }

    fn load(&self, archive: &Path) -> Result<Option<String>, ReadError> {
        let files = Arc::new(Files::open(archive)?);
        let (config_name, layer_names) = files.parts()?;
        let Some(config) = files.bytes(&config_name)? else { return Ok(None) };
        let mut layers = Vec::new();
        for name in layer_names {
            let Some((mut reader, size)) = files.file(&name)? else { return Ok(None) };
            let mut hasher = HashWriter(Sha256::new());
            io::copy(&mut reader, &mut hasher).map_err(|source| ReadError::Io { path: archive.to_owned(), source })?;
            let digest = hex(&hasher.0.finalize());
            layers
                .push(json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size }));
            self.keep(digest, Blob::Member { files: Arc::clone(&files), name, size });
        }
        let config_digest = hex(&Sha256::digest(&config));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() },
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = hex(&Sha256::digest(&manifest));
        self.keep(config_digest, Blob::Bytes(Arc::new(config)));
        self.keep(digest.clone(), Blob::Bytes(Arc::new(manifest)));
        Ok(Some(digest))
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
