//! Mirrors: asked first, missed quietly, replaced where they fail.

use super::super::*;
use super::fake::*;

const SIZE: usize = 400_000;

fn content(repository: &str) -> Content {
    let mut content = Content::default();
    content.add_image(repository, "12-alpine", "linux/amd64", &[&noise(1, SIZE)]);
    content
}

fn through(mirror: &str, registry: &str) -> Options {
    let mirrors = vec![Mirror { registry: registry.to_owned(), url: mirror.to_owned() }];
    Options { mirrors, ..options() }
}

#[test]
fn a_docker_hub_image_is_served_by_a_local_mirror() {
    let served = content("library/node");
    let mirror = Fake::start(move |seen| served.answer(seen));
    let mirrors = parse_mirrors(&format!("http://{}", mirror.host())).unwrap();
    let (client, heard) = listening(Options { mirrors, ..options() });
    let resolved = client.resolve(&Reference::parse("node:12-alpine").unwrap(), &amd64()).unwrap();
    assert_eq!(pull(&client, &resolved).unwrap(), [noise(1, SIZE)]);
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(mirror.count("/v2/library/node/"), mirror.seen().len());
}

#[test]
fn a_mirror_that_is_down_is_warned_of_once_and_replaced() {
    let served = content("node");
    let origin = Fake::start(move |seen| served.answer(seen));
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, heard) = listening(through(&format!("http://ann:hunter2@{dead}"), &origin.host()));
    let resolved = client.resolve(&origin.reference("node:12-alpine"), &amd64()).unwrap();
    assert_eq!(pull(&client, &resolved).unwrap(), [noise(1, SIZE)]);
    let heard = heard.lock().unwrap();
    let text = heard.join("\n").replace(&dead.to_string(), "DEAD").replace(&origin.host(), "ORIGIN");
    insta::assert_snapshot!(text, @"registry mirror http://DEAD failed, asking ORIGIN instead: cannot reach DEAD: connection refused");
}

#[test]
fn a_mirror_that_lacks_an_image_is_passed_over_without_a_word() {
    let served = content("node");
    let origin = Fake::start(move |seen| served.answer(seen));
    let mirror = Fake::start(|_| Reply::new(404, ""));
    let (client, heard) = listening(through(&format!("http://{}", mirror.host()), &origin.host()));
    client.resolve(&origin.reference("node:12-alpine"), &amd64()).unwrap();
    assert!(heard.lock().unwrap().is_empty() && !mirror.seen().is_empty());
}

#[test]
fn a_blob_that_a_mirror_began_is_ended_by_the_registry() {
    let (one, two) = (content("node"), content("node"));
    let origin = Fake::start(move |seen| one.answer(seen));
    let mirror = Fake::start(move |seen| match (two.answer(seen), seen.header("range")) {
        (reply, None) if reply.body.len() > 10_000 => reply.cut_at(10_000),
        (_, Some(_)) => Reply::new(500, ""),
        (reply, None) => reply,
    });
    let (client, heard) = listening(through(&format!("http://{}", mirror.host()), &origin.host()));
    let resolved = client.resolve(&origin.reference("node:12-alpine"), &amd64()).unwrap();
    assert!(origin.seen().is_empty());
    let mut sink = Sink::default();
    client.fetch_blob(&resolved.reference, &resolved.layers[0].descriptor(), &mut sink, &|_| ()).unwrap();
    assert!(sink.finished && sink.restarts == 0);
    let ranges: Vec<_> = origin.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [Some("bytes=10000-".to_owned())]);
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn wrong_bytes_from_a_mirror_are_not_built_upon() {
    let (one, two) = (content("node"), content("node"));
    let origin = Fake::start(move |seen| one.answer(seen));
    let mirror = Fake::start(move |seen| {
        let mut reply = two.answer(seen);
        if reply.body.len() > 10_000 {
            reply.body[0] ^= 1;
        }
        reply
    });
    let (client, heard) = listening(through(&format!("http://{}", mirror.host()), &origin.host()));
    let resolved = client.resolve(&origin.reference("node:12-alpine"), &amd64()).unwrap();
    assert_eq!(pull(&client, &resolved).unwrap(), [noise(1, SIZE)]);
    assert!(heard.lock().unwrap()[0].contains("has the digest"));
}

#[test]
fn a_blob_that_grows_at_a_mirror_is_begun_anew_at_the_registry() {
    let (one, two) = (content("node"), content("node"));
    let origin = Fake::start(move |seen| one.answer(seen));
    let mirror = Fake::start(move |seen| {
        let mut reply = two.answer(seen);
        if reply.body.len() > 10_000 {
            reply.body.extend([0; 200_000]);
        }
        reply
    });
    let client = Client::new(through(&format!("http://{}", mirror.host()), &origin.host())).unwrap();
    let resolved = client.resolve(&origin.reference("node:12-alpine"), &amd64()).unwrap();
    let mut sink = Sink::default();
    client.fetch_blob(&resolved.reference, &resolved.layers[0].descriptor(), &mut sink, &|_| ()).unwrap();
    assert!(sink.finished && sink.restarts == 1);
    assert!(origin.seen().len() == 1 && origin.seen()[0].header("range").is_none());
}

#[test]
fn a_mirror_may_have_a_path_and_a_login_of_its_own() {
    let served = content("hub/node");
    let mirror = Fake::start(move |seen| match seen.header("authorization") {
        Some("Basic YW5uOmh1bnRlcjI=") => served.answer(seen),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"),
    });
    let client = Client::new(through(&format!("http://ann:hunter2@{}/hub", mirror.host()), "reg.example")).unwrap();
    client.resolve(&Reference::parse("reg.example/node:12-alpine").unwrap(), &amd64()).unwrap();
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[test]
fn when_everything_fails_the_error_tells_of_the_mirror_too() {
    let origin = Fake::start(|_| Reply::new(404, ""));
    let mirror = Fake::start(|_| Reply::new(404, ""));
    let client = Client::new(through(&format!("http://{}", mirror.host()), &origin.host())).unwrap();
    let error = client.resolve(&origin.reference("node"), &amd64()).unwrap_err();
    let text = error.to_string().replace(&mirror.host(), "MIRROR").replace(&origin.host(), "ORIGIN");
    insta::assert_snapshot!(text, @r#"ORIGIN/node:latest from ORIGIN: tag "latest" of node not found; before it, mirror http://MIRROR: tag "latest" of node not found"#);
}
