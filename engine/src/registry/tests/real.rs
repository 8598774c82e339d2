//! A pull from the registry that the distribution project itself makes, as Debian packages it (`docker-registry`).

use super::super::*;
use super::fake::*;
use crate::digest::Sha256;
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = "docker-registry";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Ends the server with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a test may run; a missing program is a failure where all tools must be there.
fn has(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn start(directory: &tempfile::TempDir, tls: &str) -> (Server, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (config, data) = (directory.path().join("config.yml"), directory.path().join("data"));
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}",
        data.display()
    );
    std::fs::write(&config, text).unwrap();
    let child =
        Command::new(PROGRAM).arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server(child);
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "{PROGRAM} does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, format!("127.0.0.1:{port}"))
}

/// Uploads a blob in one piece: POST for a place, PUT to it.
fn put_blob(agent: &ureq::Agent, host: &str, bytes: &[u8]) -> Sha256 {
    let digest = Sha256::of(bytes);
    let answer = agent.post(format!("http://{host}/v2/library/node/blobs/uploads/")).send_empty().unwrap();
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    let joint = if place.contains('?') { '&' } else { '?' };
    let status = agent.put(format!("{place}{joint}digest={digest}")).send(bytes).unwrap().status();
    assert_eq!(status.as_u16(), 201);
    digest
}

#[test]
fn an_image_is_pulled_from_a_real_registry_directly_and_as_a_mirror() {
    if !has(PROGRAM, "--version") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_server, host) = start(&directory, "");
    let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let tars = [noise(1, 3_000_000), noise(2, 10)];
    let diff_ids: Vec<String> = tars.iter().map(|tar| Sha256::of(tar).to_string()).collect();
    let config =
        serde_json::json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let descriptor = |media_type: &str, bytes: &[u8]| {
        let digest = put_blob(&agent, &host, bytes);
        json(&Descriptor { digest, size: bytes.len() as u64, media_type: media_type.to_owned(), urls: Vec::new() })
    };
    let layers: Vec<_> = tars.iter().map(|tar| descriptor(LAYER, &gzip(tar))).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config), "layers": layers
    });
    let manifest = manifest.to_string();
    let address = format!("http://{host}/v2/library/node/manifests/12-alpine");
    let status = agent.put(address).header("content-type", MANIFEST).send(&manifest).unwrap().status();
    assert_eq!(status.as_u16(), 201);

    let client = client();
    let resolved =
        client.resolve(&Reference::parse(&format!("{host}/library/node:12-alpine")).unwrap(), &amd64()).unwrap();
    assert_eq!((resolved.manifest.as_slice(), resolved.media_type.as_str()), (manifest.as_bytes(), MANIFEST));
    assert_eq!(resolved.config, config);
    assert_eq!(pull(&client, &resolved).unwrap(), tars);

    let mirrors = parse_mirrors(&format!("docker.io=http://{host}")).unwrap();
    let mirrored = Client::new(Options { mirrors, ..options() }).unwrap();
    let from_mirror = mirrored.resolve(&Reference::parse("node:12-alpine").unwrap(), &amd64()).unwrap();
    assert_eq!(from_mirror.layers, resolved.layers);
    assert_eq!(pull(&mirrored, &from_mirror).unwrap(), tars);

    let error =
        client.resolve(&Reference::parse(&format!("{host}/library/node:12-alpin")).unwrap(), &amd64()).unwrap_err();
    assert_eq!(error.advice().unwrap(), format!("did you mean {host}/library/node:12-alpine?"));
    let error = client.resolve(&Reference::parse(&format!("{host}/nobody/nothing")).unwrap(), &amd64()).unwrap_err();
    assert!(matches!(*error.kind, Kind::NotFound { .. }), "{error}");
}

/// Makes a certificate authority and a certificate of it for 127.0.0.1: `ca.pem`, `server.pem`, `server.key`.
fn make_certificates(directory: &tempfile::TempDir) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1"));
    std::fs::write(directory.path().join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile san");
}

#[test]
fn a_certificate_is_believed_only_from_an_authority_that_is_named() {
    if !has(PROGRAM, "--version") || !has("openssl", "version") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_certificates(&directory);
    let at = |name: &str| directory.path().join(name);
    let (certificate, key) = (at("server.pem"), at("server.key"));
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
    let (_server, host) = start(&directory, &tls);
    let said = |certificates| {
        let mirrors = parse_mirrors(&format!("reg.invalid=https://{host}")).unwrap();
        let client = Client::new(Options { mirrors, certificates, ..options() }).unwrap();
        // The registry itself is nowhere, so the error tells what its mirror said.
        client
            .resolve(&Reference::parse("reg.invalid/app").unwrap(), &amd64())
            .unwrap_err()
            .mirrors
            .join("")
            .replace(&host, "HOST")
    };
    insta::assert_snapshot!(said(None), @"mirror https://HOST: no secure connection to HOST: invalid peer certificate: UnknownIssuer");
    insta::assert_snapshot!(said(Some(at("ca.pem"))), @r#"mirror https://HOST: tag "latest" of app not found: manifest unknown (MANIFEST_UNKNOWN)"#);
}
