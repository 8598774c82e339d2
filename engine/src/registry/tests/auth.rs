//! Logins and tokens: who gets which, how often they are asked for, and that nobody else sees them.

use super::super::*;
use super::fake::*;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Writes a `config.json` with one login.
pub(super) fn config(directory: &tempfile::TempDir, host: &str, login: &str) -> PathBuf {
    let path = directory.path().join("config.json");
    std::fs::write(&path, format!(r#"{{"auths": {{"{host}": {login}}}}}"#)).unwrap();
    path
}

/// A registry that wants bearer tokens, each good for `uses` requests, and gives them out below `/token`.
fn bearer(content: Content, uses: usize, gives: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Fake {
    let (issued, used) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    Fake::start(move |seen| {
        if seen.path == "/token" {
            if !gives(seen) {
                return Reply::new(401, "");
            }
            used.store(0, Ordering::SeqCst);
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::new(200, format!(r#"{{"access_token":"token{number}","expires_in":300}}"#));
        }
        let wanted = format!("Bearer token{}", issued.load(Ordering::SeqCst));
        let good = seen.header("authorization") == Some(&wanted);
        match good && used.fetch_add(1, Ordering::SeqCst) < uses {
            true => content.answer(seen),
            false => {
                let host = seen.header("host").unwrap();
                let challenge = format!(
                    r#"Basic realm="x", Bearer realm="http://{host}/token",service="svc",scope="repository:app:pull""#
                );
                Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
                    .with("WWW-Authenticate", challenge)
            }
        }
    })
}

fn image() -> Content {
    let mut content = Content::default();
    let tars: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 1000)).collect();
    let parts: Vec<&[u8]> = tars.iter().map(Vec::as_slice).collect();
    content.add_image("app", "latest", "linux/amd64", &parts);
    content
}

#[test]
fn one_anonymous_token_serves_a_whole_pull() {
    let fake = bearer(image(), usize::MAX, |_| true);
    let client = client();
    let resolved = client.resolve(&fake.reference("app"), &amd64()).unwrap();
    pull(&client, &resolved).unwrap();
    let tokens: Vec<_> = fake.seen().into_iter().filter(|seen| seen.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query, "service=svc&scope=repository%3Aapp%3Apull");
    assert_eq!(tokens[0].header("authorization"), None);
}

#[test]
fn a_token_that_is_no_longer_good_is_replaced_while_layers_are_fetched() {
    let fake = bearer(image(), 3, |_| true);
    let client = client();
    let resolved = client.resolve(&fake.reference("app"), &amd64()).unwrap();
    for layer in &resolved.layers {
        client.fetch_blob(&resolved.reference, &layer.descriptor(), &mut MemorySink::default(), &|_| ()).unwrap();
    }
    assert_eq!(fake.count("/token"), 3);
}

#[test]
fn a_stored_login_goes_to_the_token_server_only() {
    let directory = tempfile::tempdir().unwrap();
    let fake = bearer(image(), usize::MAX, |seen| seen.header("authorization") == Some("Basic YW5uOmh1bnRlcjI="));
    let config = config(&directory, &fake.host(), r#"{"auth": "YW5uOmh1bnRlcjI="}"#);
    let client = Client::new(Options { docker_config: Some(config), ..options() }).unwrap();
    client.resolve(&fake.reference("app"), &amd64()).unwrap();
    for seen in fake.seen() {
        let basic = seen.header("authorization").is_some_and(|value| value.starts_with("Basic "));
        assert_eq!(basic, seen.path == "/token", "{seen:?}");
    }
}

#[test]
fn an_identity_token_is_posted_as_a_form() {
    let directory = tempfile::tempdir().unwrap();
    let fake = bearer(image(), usize::MAX, |seen| seen.method == "POST");
    let config = config(&directory, &fake.host(), r#"{"identitytoken": "a+b"}"#);
    let client = Client::new(Options { docker_config: Some(config), ..options() }).unwrap();
    client.resolve(&fake.reference("app"), &amd64()).unwrap();
    let post = fake.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    let expected =
        "grant_type=refresh_token&client_id=kiln&scope=repository%3Aapp%3Apull&service=svc&refresh_token=a%2Bb";
    assert_eq!((post.body.as_str(), post.header("authorization")), (expected, None));
}

#[test]
fn access_that_is_denied_advises_to_log_in() {
    let fake = bearer(image(), 0, |_| true);
    let error = client().resolve(&fake.reference("app"), &amd64()).unwrap_err();
    let text = |text: String| text.replace(&fake.host(), "HOST");
    insta::assert_snapshot!(text(error.to_string()), @"HOST/app:latest from HOST: access denied by HOST (status 401): authentication required (UNAUTHORIZED)");
    insta::assert_snapshot!(text(error.advice().unwrap()), @"the repository may not exist, or be private: check the name, or log in with `docker login HOST`");
    // Once without a token, once with: a third time would not help.
    assert_eq!((fake.count("/manifests/"), fake.count("/token")), (2, 1));
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let fake = bearer(image(), 0, |_| false);
    let config = config(&directory, &fake.host(), r#"{"username": "ann", "password": "hunter2"}"#);
    let client = Client::new(Options { docker_config: Some(config), ..options() }).unwrap();
    let error = client.resolve(&fake.reference("app"), &amd64()).unwrap_err();
    assert!(matches!(&*error.kind, Kind::Denied { login: Login::Sent, .. }), "{error}");
    assert!(error.advice().unwrap().contains("stored login is wrong"));
    let everything = format!("{error} {error:?} {:?} {client:?}", error.advice());
    assert!(!everything.contains("hunter2") && !everything.contains("YW5u"), "{everything}");
}

#[test]
fn a_helper_that_cannot_be_run_is_told_only_where_a_login_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore": "kiln-test-not-there"}"#).unwrap();
    let with_helper = || listening(Options { docker_config: Some(path.clone()), ..options() });
    let content = image();
    let public = Fake::start(move |seen| content.answer(seen));
    let (client, heard) = with_helper();
    client.resolve(&public.reference("app"), &amd64()).unwrap();
    assert!(heard.lock().unwrap().is_empty());
    let private = bearer(image(), 0, |_| true);
    let (client, heard) = with_helper();
    let error = client.resolve(&private.reference("app"), &amd64()).unwrap_err();
    assert!(error.advice().unwrap().contains("docker-credential-kiln-test-not-there: it is not installed"), "{error}");
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn a_token_server_without_tls_gets_no_login() {
    let directory = tempfile::tempdir().unwrap();
    let fake =
        Fake::start(|_| Reply::new(401, "").with("WWW-Authenticate", r#"Bearer realm="http://tokens.example/t""#));
    let config = config(&directory, &fake.host(), r#"{"username": "ann", "password": "hunter2"}"#);
    let client = Client::new(Options { docker_config: Some(config), ..options() }).unwrap();
    let error = client.resolve(&fake.reference("app"), &amd64()).unwrap_err();
    assert!(error.to_string().ends_with("its token server has no TLS"), "{error}");
}

#[test]
fn a_token_that_could_forge_headers_is_refused() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/token" => Reply::new(200, r#"{"token":"a\r\nX-Evil: 1"}"#),
        _ => {
            let host = seen.header("host").unwrap();
            Reply::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
        }
    });
    let error = client().resolve(&fake.reference("app"), &amd64()).unwrap_err();
    assert!(matches!(*error.kind, Kind::Malformed { .. }) && !error.to_string().contains("Evil"), "{error}");
}
