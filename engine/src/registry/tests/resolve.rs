//! From a name to an image: platforms, digests, and what is said when there is none.

use super::super::*;
use super::fake::*;
use crate::digest::Sha256;
use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

fn kind(error: Error) -> Kind {
    *error.kind
}

#[test]
fn an_image_is_resolved_and_its_layers_are_fetched_side_by_side() {
    let mut content = Content::default();
    let tars: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 300_000)).collect();
    let mut parts: Vec<&[u8]> = tars.iter().map(Vec::as_slice).collect();
    // The same layer twice, as empty ones often are.
    parts.push(parts[0]);
    let manifest = content.add_image("team/app", "v1", "linux/amd64", &parts);
    let fake = Fake::start(move |seen| content.answer(seen));
    let client = client();
    let resolved = client.resolve(&fake.reference("team/app:v1"), &amd64()).unwrap();
    assert_eq!((resolved.manifest_digest, resolved.index_digest), (manifest.digest, None));
    assert_eq!(Sha256::of(&resolved.manifest), manifest.digest);
    assert_eq!(Sha256::of(&resolved.config), resolved.config_digest);
    assert_eq!(resolved.platform, amd64());
    assert!(resolved.layers.iter().all(|layer| layer.compression == Compression::Gzip));
    assert_eq!(pull(&client, &resolved).unwrap(), parts);
    let by_digest = client.resolve(&fake.reference(&format!("team/app@{}", manifest.digest)), &amd64()).unwrap();
    assert_eq!(by_digest.layers, resolved.layers);
}

#[test]
fn the_entry_for_the_platform_is_taken_from_an_index() {
    let mut content = Content::default();
    let amd = content.add_image("app", "a", "linux/amd64", &[b"amd"]);
    let arm = content.add_image("app", "b", "linux/arm", &[b"arm"]);
    let inner = content.add_index("app", "inner", &[("linux/arm/v6", &arm)]);
    let index = content.add_index(
        "app",
        "latest",
        &[("linux/amd64", &amd), ("linux/arm/v6", &inner), ("unknown/unknown", &amd)],
    );
    let fake = Fake::start(move |seen| content.answer(seen));
    let (client, reference) = (client(), fake.reference("app"));
    let found = client.resolve(&reference, &amd64()).unwrap();
    assert_eq!((found.manifest_digest, found.index_digest), (amd.digest, Some(index.digest)));
    // An older variant, through an index in the index.
    let found = client.resolve(&reference, &Platform::new("linux", "arm", Some("v7"))).unwrap();
    assert_eq!((found.manifest_digest, found.index_digest), (arm.digest, Some(index.digest)));
    let error = client.resolve(&reference, &Platform::new("linux", "s390x", None)).unwrap_err();
    let text = error.to_string().replace(&fake.host(), "HOST");
    insta::assert_snapshot!(text, @"HOST/app:latest from HOST: there is no image for linux/s390x; there is linux/amd64 and linux/arm/v6");
    assert_eq!(error.advice().unwrap(), "state one of them with --platform");
}

#[test]
fn the_only_image_there_is_is_taken_with_a_warning() {
    let mut content = Content::default();
    content.add_image("app", "latest", "linux/arm64", &[b"x"]);
    let fake = Fake::start(move |seen| content.answer(seen));
    let (client, heard) = listening(options());
    client.resolve(&fake.reference("app"), &amd64()).unwrap();
    let heard = heard.lock().unwrap().join("\n").replace(&fake.host(), "HOST");
    assert_eq!(heard, "HOST/app:latest is an image for linux/arm64, not for linux/amd64");
}

#[test]
fn a_manifest_with_another_digest_than_stated_is_refused() {
    let mut content = Content::default();
    let image = content.add_image("app", "latest", "linux/amd64", &[b"x"]);
    let wrong = Sha256::of(b"wrong");
    let fake = Fake::start(move |seen| {
        let mut reply = content.answer(seen);
        match seen.path.contains("/manifests/sha256:") {
            // Other bytes below a digest; no header that says so.
            true => {
                reply.body.push(b' ');
                reply.headers.clear();
            }
            false => {
                reply.headers.retain(|(name, _)| name != "Docker-Content-Digest");
                reply = reply.with("Docker-Content-Digest", wrong.to_string());
            }
        }
        reply
    });
    let expect =
        |name: String, stated: Sha256| match kind(client().resolve(&fake.reference(&name), &amd64()).unwrap_err()) {
            Kind::Digest { expected, .. } => assert_eq!(expected, stated),
            other => panic!("{other}"),
        };
    expect("app".to_owned(), wrong);
    expect(format!("app@{}", image.digest), image.digest);
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let mut content = Content::default();
    content.add_image("app", "latest", "linux/amd64", &[b"x"]);
    let fake = Fake::start(move |seen| match (seen.path.contains("manifests"), seen.earlier) {
        (true, 0) => Reply::new(503, "busy").with("Retry-After", "0"),
        (true, 1) => Reply { cut: Some(3), ..content.answer(seen) },
        (true, 2) => Reply::new(500, ""),
        _ => content.answer(seen),
    });
    client().resolve(&fake.reference("app"), &amd64()).unwrap();
    assert_eq!(fake.count("/manifests/"), 4);
}

#[test]
fn a_server_that_keeps_failing_is_given_up() {
    let fake = Fake::start(|_| Reply::new(500, r#"{"errors":[{"code":"UNKNOWN","message":"disk\u001b full"}]}"#));
    let error = client().resolve(&fake.reference("app"), &amd64()).unwrap_err();
    let text = error.to_string().replace(&fake.host(), "HOST");
    insta::assert_snapshot!(text, @r#"HOST/app:latest from HOST: HOST answered 500 to the request for tag "latest" of app: disk full (UNKNOWN)"#);
    assert_eq!(fake.count("/manifests/"), 4);
}

#[test]
fn a_missing_tag_is_told_with_the_tags_that_look_like_it() {
    let mut content = Content::default();
    content.add_image("node", "12-alpine", "linux/amd64", &[b"x"]);
    let fake = Fake::start(move |seen| match seen.path.as_str() {
        "/v2/node/tags/list" => Reply::new(200, r#"{"name":"node","tags":["12-alpine","latest"]}"#),
        _ => content.answer(seen),
    });
    let error = client().resolve(&fake.reference("node:12-alpin"), &amd64()).unwrap_err();
    let text = |text: String| text.replace(&fake.host(), "HOST");
    insta::assert_snapshot!(text(error.to_string()), @r#"HOST/node:12-alpin from HOST: tag "12-alpin" of node not found: no such thing (UNKNOWN)"#);
    insta::assert_snapshot!(text(error.advice().unwrap()), @"did you mean HOST/node:12-alpine?");
    let error = client().resolve(&fake.reference("nope"), &amd64()).unwrap_err();
    assert_eq!(error.advice().unwrap(), "check the name and the tag");
}

#[test]
fn what_is_too_large_is_not_read() {
    let fake = Fake::start(|_| Reply::new(200, vec![b' '; (4 << 20) + 1]));
    let error = kind(client().resolve(&fake.reference("app"), &amd64()).unwrap_err());
    assert!(matches!(error, Kind::TooLarge { limit: 4_194_304, .. }), "{error}");
    let mut content = Content::default();
    let image = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":99999999999},"layers":[]}"#;
    let image = image.replace("DIGEST", &Sha256::of(b"").to_string());
    content.add_manifest("app", "latest", OCI_MANIFEST, image.into_bytes());
    let fake = Fake::start(move |seen| content.answer(seen));
    let error = kind(client().resolve(&fake.reference("app"), &amd64()).unwrap_err());
    assert!(matches!(error, Kind::TooLarge { .. }) && fake.count("/blobs/") == 0, "{error}");
}

#[test]
fn an_old_manifest_is_told_as_such() {
    let fake = Fake::start(|_| {
        Reply::new(200, r#"{"schemaVersion":1,"fsLayers":[]}"#)
            .with("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    });
    assert!(matches!(kind(client().resolve(&fake.reference("app"), &amd64()).unwrap_err()), Kind::Schema1));
}

#[test]
fn an_image_with_more_layers_than_diff_ids_is_refused() {
    let mut content = Content::default();
    let config = content.add_blob("app", "application/vnd.oci.image.config.v1+json", b"{}".to_vec());
    let layer = content.add_blob("app", "application/vnd.oci.image.layer.v1.tar", b"x".to_vec());
    let image = serde_json::json!({"schemaVersion": 2, "config": json(&config), "layers": [json(&layer)]});
    content.add_manifest("app", "latest", OCI_MANIFEST, image.to_string().into_bytes());
    let fake = Fake::start(move |seen| content.answer(seen));
    let error = client().resolve(&fake.reference("app"), &amd64()).unwrap_err();
    assert!(error.to_string().ends_with("the image is not valid: the manifest has 1 layers, the config 0"), "{error}");
}

#[test]
fn without_a_network_the_error_says_so_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Instant::now();
    let reference = Reference::parse(&format!("localhost:{port}/app")).unwrap();
    let error = client().resolve(&reference, &amd64()).unwrap_err();
    assert!(error.is_offline() && started.elapsed() < Duration::from_secs(2), "{error}");
    assert!(error.to_string().ends_with(": connection refused"), "{error}");
    assert!(error.advice().unwrap().starts_with("is the registry running"));
    let nowhere = Reference::parse("no-such-registry.invalid/app").unwrap();
    let error = client().resolve(&nowhere, &amd64()).unwrap_err();
    assert!(error.is_offline() && error.advice().unwrap().contains("network"), "{error}");
}

#[test]
fn a_plain_answer_where_tls_is_wanted_is_told_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The greeting is read, so that the answer is not lost in a reset connection.
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent no HTTP\n").unwrap();
    });
    let mirror = Mirror { registry: "reg.example".into(), url: format!("https://{host}") };
    let (client, heard) = listening(Options { mirrors: vec![mirror], ..options() });
    let reference = Reference::parse("reg.example/app").unwrap();
    client.resolve(&reference, &amd64()).unwrap_err();
    let heard = heard.lock().unwrap().join("\n");
    assert!(heard.contains("no secure connection to 127.0.0.1"), "{heard}");
    server.join().unwrap();
}
