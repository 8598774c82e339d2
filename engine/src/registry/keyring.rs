//! Finds the login for a host: in Docker's `config.json`, or by the helper program that it names.
//!
//! Every host is looked up once. Trouble is no failure: the image may be public, so the registry is asked without a login,
//! and the trouble is told only then.

use super::{
    docker_config::{DockerConfig, HUB_KEY},
    reference::DOCKER_HUB,
    secret::{Credential, Secret},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    time::Duration,
};

/// Largest `config.json`, and largest answer of a helper, that is read.
const CONFIG_MAX_BYTES: u64 = 4 << 20;
/// How long a helper may take: it may ask its user to unlock a key ring.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is known of the login for a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Nothing,
    Login(Credential),
    /// There may be one, but it cannot be had: why.
    Trouble(String),
}

/// All logins that the user's configuration leads to.
pub(super) struct Keyring {
    path: Option<PathBuf>,
    config: OnceLock<Result<DockerConfig, String>>,
    // Held while a helper runs, so that its user is asked once and not by every transfer.
    known: Mutex<HashMap<String, Found>>,
}

impl Keyring {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Keyring { path, config: OnceLock::new(), known: Mutex::new(HashMap::new()) }
    }

    /// The login for a registry's host; also whether this is the first time that it is looked up.
    pub(super) fn find(&self, host: &str) -> (Found, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(host) {
            return (found.clone(), false);
        }
        let found = self.look_up(host);
        known.insert(host.to_owned(), found.clone());
        (found, true)
    }

    fn look_up(&self, host: &str) -> Found {
        let config = match self.config.get_or_init(|| self.read()) {
            Ok(config) => config,
            Err(detail) => return Found::Trouble(detail.clone()),
        };
        let mut trouble = None;
        if let Some(name) = config.helper(host) {
            let server = if host == DOCKER_HUB { HUB_KEY } else { host };
            match helper_command(name).and_then(|command| ask(command, server, HELPER_TIMEOUT)) {
                Ok(Some(credential)) => return Found::Login(credential),
                Ok(None) => {}
                Err(detail) => trouble = Some(format!("docker-credential-{name}: {detail}")),
            }
        }
        match (config.stored(host), trouble) {
            (Ok(Some(credential)), _) => Found::Login(credential),
            (Err(detail), _) | (Ok(None), Some(detail)) => Found::Trouble(detail),
            (Ok(None), None) => Found::Nothing,
        }
    }

    fn read(&self) -> Result<DockerConfig, String> {
        let Some(path) = &self.path else {
            return Ok(DockerConfig::default());
        };
        let told = |detail: String| format!("{}: {detail}", path.display());
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(DockerConfig::default());
            }
            Err(error) => return Err(told(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(CONFIG_MAX_BYTES).read_to_end(&mut bytes).map_err(|error| told(error.to_string()))?;
        DockerConfig::parse(&bytes).map_err(told)
    }
}

fn helper_command(name: &str) -> Result<Command, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().all(good) {
        // The name comes from a file, and is looked for in PATH only.
        true => Ok(Command::new(format!("docker-credential-{name}"))),
        false => Err("its name has characters that no helper's name has".to_owned()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for the login of a server: `get`, the server on its standard input, JSON on its standard output.
/// `None` is its word that it has none. Its errors are not repeated in full, and its output not at all.
fn ask(mut command: Command, server: &str, limit: Duration) -> Result<Option<Credential>, String> {
    /// The one error that means "there is none", as all helpers spell it.
    const NONE: &str = "credentials not found";
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it is not installed".to_owned(),
        _ => format!("it cannot be started: {error}"),
    })?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input may already be gone: its exit status tells.
        let _ = input.write_all(server.as_bytes());
    }
    let (send, receive) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(CONFIG_MAX_BYTES).read_to_end(&mut bytes).map(|_| bytes);
            // Nobody listens any more when the time limit has passed.
            let _ = send.send(read);
        });
    }
    let output = match receive.recv_timeout(limit) {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("its answer cannot be read: {error}")),
        Err(_) => {
            // It may end on its own at this moment; either way it is gone after the wait.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it did not answer within {} s", limit.as_secs()));
        }
    };
    let status = child.wait().map_err(|error| format!("its end cannot be awaited: {error}"))?;
    if !status.success() {
        return match String::from_utf8_lossy(&output).to_ascii_lowercase().contains(NONE) {
            true => Ok(None),
            false => Err(format!("it failed ({status})")),
        };
    }
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| "its answer is not understood".to_owned())?;
    Ok(match (answer.username.as_str(), answer.secret.as_str()) {
        (_, "") => None,
        ("<token>", _) => Some(Credential::Identity(Secret::new(answer.secret))),
        _ => Some(Credential::Basic { username: answer.username, password: Secret::new(answer.secret) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "helper"]);
        command
    }

    fn answer(script: &str) -> Result<Option<Credential>, String> {
        ask(helper(script), "reg.lan", Duration::from_secs(20))
    }

    #[test]
    fn a_helper_is_asked_for_the_server_on_its_input() {
        let script = r#"read server; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"ann","Secret":"for %s"}' x "$server""#;
        let expected = Credential::Basic { username: "ann".into(), password: Secret::new("for reg.lan") };
        assert_eq!(answer(script), Ok(Some(expected)));
        let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(answer(token), Ok(Some(Credential::Identity(Secret::new("t")))));
    }

    #[test]
    fn a_helper_without_a_login_differs_from_one_that_fails() {
        assert_eq!(answer("echo credentials not found in native keychain; exit 1"), Ok(None));
        assert!(answer("echo hunter2; exit 3").unwrap_err().contains("exit status: 3"));
        assert!(!answer("echo hunter2; exit 3").unwrap_err().contains("hunter2"));
        assert_eq!(answer("echo hunter2").unwrap_err(), "its answer is not understood");
        assert!(ask(helper("exec sleep 60"), "x", Duration::from_millis(50)).unwrap_err().contains("did not answer"));
    }

    #[test]
    fn trouble_with_a_helper_is_told_and_a_stored_login_still_serves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let text = r#"{"credsStore": "kiln-test-not-there", "credHelpers": {"evil.io": "../../bin/sh"},
            "auths": {"ghcr.io": {"auth": "YW5uOmh1bnRlcjI="}}}"#;
        std::fs::write(&path, text).unwrap();
        let keyring = Keyring::new(Some(path));
        assert!(matches!(keyring.find("ghcr.io"), (Found::Login(_), true)));
        assert!(matches!(keyring.find("ghcr.io"), (Found::Login(_), false)));
        let missing = Found::Trouble("docker-credential-kiln-test-not-there: it is not installed".into());
        assert_eq!(keyring.find("quay.io"), (missing, true));
        assert!(matches!(keyring.find("evil.io"), (Found::Trouble(detail), true) if detail.contains("characters")));
    }

    #[test]
    fn a_missing_configuration_means_no_logins_and_a_broken_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(Keyring::new(Some(path.clone())).find("a.io").0, Found::Nothing);
        assert_eq!(Keyring::new(None).find("a.io").0, Found::Nothing);
        std::fs::write(&path, "{").unwrap();
        assert!(
            matches!(Keyring::new(Some(path)).find("a.io").0, Found::Trouble(detail) if detail.contains("config.json"))
        );
    }
}
