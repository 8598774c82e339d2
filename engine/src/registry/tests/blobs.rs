//! Blobs over connections that break, lie, stall and lead elsewhere.

use super::super::*;
use super::fake::*;
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const SIZE: usize = 500_000;

fn content() -> (Content, Descriptor, Vec<u8>) {
    let (mut content, bytes) = (Content::default(), noise(7, SIZE));
    let blob = content.add_blob("app", "application/octet-stream", bytes.clone());
    (content, blob, bytes)
}

fn fetch(client: &Client, fake: &Fake, blob: &Descriptor) -> (Result<(), Error>, Sink) {
    let mut sink = Sink::default();
    let done = client.fetch_blob(&fake.reference("app"), blob, &mut sink, &|_| ());
    (done, sink)
}

fn ranges(fake: &Fake) -> Vec<Option<String>> {
    fake.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect()
}

#[test]
fn a_broken_connection_is_resumed_at_the_byte_reached() {
    let (content, blob, bytes) = content();
    let fake = Fake::start(move |seen| match seen.earlier {
        0 => content.answer(seen).cut_at(200_000),
        1 => content.answer(seen).cut_at(100_000),
        _ => content.answer(seen),
    });
    let told = Mutex::new(Vec::new());
    let mut sink = Sink::default();
    client().fetch_blob(&fake.reference("app"), &blob, &mut sink, &|at| told.lock().unwrap().push(at)).unwrap();
    assert!(sink.bytes == bytes && sink.finished && sink.restarts == 0);
    assert_eq!(ranges(&fake), [None, Some("bytes=200000-".to_owned()), Some("bytes=300000-".to_owned())]);
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&(SIZE as u64)), "{told:?}");
}

#[test]
fn a_server_without_ranges_sends_the_blob_again_from_its_start() {
    let (content, blob, bytes) = content();
    let fake = Fake::start(move |seen| {
        let whole = content.answer(&unranged(seen));
        if seen.earlier == 0 { whole.cut_at(200_000) } else { whole }
    });
    let (done, sink) = fetch(&client(), &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes && sink.restarts == 1);
}

#[test]
fn a_range_that_begins_elsewhere_is_not_believed() {
    let (content, blob, bytes) = content();
    let fake = Fake::start(move |seen| match seen.earlier {
        0 => content.answer(seen).cut_at(200_000),
        1 => Reply::new(206, vec![0; 10]).with("Content-Range", "bytes 100-109/500000"),
        _ => content.answer(seen),
    });
    let (done, sink) = fetch(&client(), &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes && sink.restarts == 1);
    // It is noticed by the range, not only by the digest at the end.
    assert_eq!(ranges(&fake), [None, Some("bytes=200000-".to_owned()), None]);
}

fn unranged(seen: &Seen) -> Seen {
    let mut plain = seen.clone();
    plain.forget("range");
    plain
}

#[test]
fn wrong_bytes_are_fetched_once_more_and_then_refused() {
    let (content, blob, bytes) = content();
    let damaged = move |until: usize| {
        let content = content.clone();
        Fake::start(move |seen| {
            let mut reply = content.answer(seen);
            reply.body[100] ^= u8::from(seen.earlier < until);
            reply
        })
    };
    let fake = damaged(1);
    let (done, sink) = fetch(&client(), &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes && sink.restarts == 1 && sink.finished);
    let fake = damaged(9);
    let (done, sink) = fetch(&client(), &fake, &blob);
    let error = done.unwrap_err();
    assert!(matches!(*error.kind, Kind::Digest { expected, .. } if expected == blob.digest), "{error}");
    assert!(!sink.finished && fake.count("/blobs/") == 2);
}

#[test]
fn a_blob_that_never_ends_or_always_ends_early_is_refused() {
    let (content, blob, _) = content();
    let longer = content.clone();
    let fake = Fake::start(move |seen| {
        let mut reply = longer.answer(seen);
        reply.body.extend([0; 300_000]);
        reply
    });
    let (done, sink) = fetch(&client(), &fake, &blob);
    assert!(matches!(*done.unwrap_err().kind, Kind::Size { expected: 500_000, .. }));
    assert!(!sink.finished && sink.bytes.len() <= SIZE);
    // What a truncated file on the server looks like: a complete answer, but too short, and no range beyond it.
    let fake = Fake::start(move |seen| match seen.header("range") {
        None => Reply::new(200, &content.answer(seen).body[..1000]),
        Some(_) => Reply::new(416, ""),
    });
    let (done, sink) = fetch(&client(), &fake, &blob);
    let error = done.unwrap_err();
    assert!(matches!(*error.kind, Kind::Broken { .. }) && !sink.finished, "{error}");
}

#[test]
fn a_connection_that_brings_nothing_is_tried_as_often_as_is_allowed() {
    let (content, blob, _) = content();
    let fake = Fake::start(move |seen| content.answer(seen).cut_at(0));
    let error = fetch(&client(), &fake, &blob).0.unwrap_err();
    assert!(matches!(*error.kind, Kind::Broken { .. }), "{error}");
    assert_eq!(fake.count("/blobs/"), 4);
}

#[test]
fn a_silent_connection_is_broken_off_and_resumed() {
    let (content, blob, bytes) = content();
    let fake = Fake::start(move |seen| match seen.earlier {
        0 => Reply { cut: Some(1000), stall: Some(Duration::from_secs(3)), ..content.answer(seen) },
        _ => content.answer(seen),
    });
    let timeouts = Timeouts { idle: Duration::from_millis(200), ..options().timeouts };
    let (started, client) = (Instant::now(), Client::new(Options { timeouts, ..options() }).unwrap());
    let (done, sink) = fetch(&client, &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes && sink.restarts == 0);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_busy_server_is_waited_for_as_it_asks_but_not_for_an_hour() {
    let (content, blob, _) = content();
    let wait = Arc::new(AtomicUsize::new(1));
    let asked = wait.clone();
    let fake = Fake::start(move |seen| match seen.earlier % 2 {
        0 => Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#)
            .with("Retry-After", asked.load(Ordering::SeqCst).to_string()),
        _ => content.answer(seen),
    });
    let started = Instant::now();
    fetch(&client(), &fake, &blob).0.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    wait.store(3600, Ordering::SeqCst);
    let started = Instant::now();
    let error = fetch(&client(), &fake, &blob).0.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(
        matches!(*error.kind, Kind::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() == 3600),
        "{error}"
    );
    assert!(error.advice().unwrap().starts_with("wait 3600 s, log in with"), "{error}");
}

#[test]
fn a_redirect_to_another_host_carries_no_login() {
    let (content, blob, bytes) = content();
    let storage = Fake::start(move |seen| {
        let mut inner = seen.clone();
        inner.path = seen.path.replace("/store/", "/v2/app/blobs/");
        let reply = content.answer(&inner);
        // A signed address that has expired meanwhile, and a connection that breaks.
        match seen.earlier {
            0 => Reply::new(403, "expired"),
            1 => reply.cut_at(1000),
            _ => reply,
        }
    });
    let target = format!("http://{}/store", storage.host());
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::new(307, "")
            .with("Location", format!("{target}/{}?sig=secret", seen.path.rsplit('/').next().unwrap())),
    });
    let directory = tempfile::tempdir().unwrap();
    let config = super::auth::config(&directory, &fake.host(), r#"{"auth": "YW5uOmh1bnRlcjI="}"#);
    let client = Client::new(Options { docker_config: Some(config), ..options() }).unwrap();
    let (done, sink) = fetch(&client, &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes && sink.restarts == 0);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(storage.seen()[2].header("range"), Some("bytes=1000-"));
    assert_eq!(storage.seen()[0].query, "sig=secret");
    assert!(fake.seen()[1].header("authorization").is_some());
}

#[test]
fn redirects_in_a_circle_are_not_followed_for_ever() {
    let (_, blob, _) = content();
    let fake = Fake::start(|seen| Reply::new(302, "").with("Location", seen.path.clone()));
    let error = fetch(&client(), &fake, &blob).0.unwrap_err();
    assert!(matches!(*error.kind, Kind::Redirect { .. }), "{error}");
    assert_eq!(fake.seen().len(), 9);
}

#[test]
fn a_layer_that_may_not_be_distributed_comes_from_its_own_address() {
    let (content, mut blob, bytes) = content();
    let elsewhere = Fake::start(move |seen| content.answer(seen));
    let address = format!("http://{}/v2/app/blobs/{}", elsewhere.host(), blob.digest);
    blob.urls = vec!["http://foreign.example/plain-is-not-asked".to_owned(), address];
    let fake = Fake::start(|_| Reply::new(404, ""));
    let (done, sink) = fetch(&client(), &fake, &blob);
    done.unwrap();
    assert!(sink.bytes == bytes);
    blob.urls.clear();
    assert!(matches!(*fetch(&client(), &fake, &blob).0.unwrap_err().kind, Kind::NotFound { .. }));
}

#[test]
fn an_empty_blob_needs_no_request() {
    let mut content = Content::default();
    let blob = content.add_blob("app", "x", Vec::new());
    let fake = Fake::start(|_| Reply::new(500, ""));
    let (done, sink) = fetch(&client(), &fake, &blob);
    done.unwrap();
    assert!(sink.finished && fake.seen().is_empty());
}

struct Full;

impl BlobSink for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_transfer_at_once() {
    let (content, blob, _) = content();
    let fake = Fake::start(move |seen| content.answer(seen));
    let error = client().fetch_blob(&fake.reference("app"), &blob, &mut Full, &|_| ()).unwrap_err();
    assert!(matches!(&*error.kind, Kind::Sink { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    assert!(std::error::Error::source(&error).is_some() && fake.seen().len() == 1);
}

#[test]
fn the_first_layer_that_fails_is_the_error_and_stops_the_others() {
    let mut content = Content::default();
    let tars: Vec<Vec<u8>> = (0..8).map(|seed| noise(seed, 50_000)).collect();
    let parts: Vec<&[u8]> = tars.iter().map(Vec::as_slice).collect();
    content.add_image("app", "latest", "linux/amd64", &parts);
    let first = super::fake::gzip(&tars[0]);
    let missing = crate::digest::Sha256::of(&first).to_string();
    let config_bytes = 1000;
    let fake = Fake::start(move |seen| {
        let reply = content.answer(seen);
        match seen.is_blob() && reply.body.len() > config_bytes {
            true if seen.path.ends_with(&missing) => Reply::new(404, ""),
            // Never whole, so that no other layer ends before the missing one is noticed.
            true => reply.cut_at(10),
            false => reply,
        }
    });
    let client = client();
    let reference = fake.reference("app");
    let resolved = client.resolve(&reference, &amd64()).unwrap();
    let error = pull(&client, &resolved).unwrap_err();
    assert!(matches!(*error.kind, Kind::NotFound { .. }), "{error}");
}
