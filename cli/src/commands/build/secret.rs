//! What `--secret`, `--ssh` and `--add-host` mean.
//!
//! Looks whether a secret's file or variable is there, so that a build does not fail after minutes for it; reads no secret.

use super::csv::attributes;
use crate::environment::{self, Environment};
use crate::failure::UsageError;
use kiln_engine::api::{HostEntry, Secret, SecretSource, Ssh, SshSource};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

const SECRET: &str = "--secret";
const SSH: &str = "--ssh";
const ADD_HOST: &str = "--add-host";

/// Reads one `--secret`.
pub fn secret(text: &str, environment: &Environment) -> Result<Secret, UsageError> {
    let wrong = |reason: String| UsageError::value(SECRET, text, reason);
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for (key, value) in attributes(SECRET, text)? {
        let value = value.ok_or_else(|| {
            wrong(format!("the attribute {key:?} has no value"))
                .with_help("use id=NAME,src=FILE or id=NAME,env=VARIABLE")
        })?;
        match key.as_str() {
            "id" => id = Some(value),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            "type" if value == "file" || value == "env" => kind = Some(value),
            "type" => return Err(wrong("the type must be file or env".into())),
            other => return Err(wrong(format!("secrets have no attribute {other:?}"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("the id is missing".into()))?;
    let is_set = |name: &str| environment.any_text(name).is_some();
    let source = match (file, variable, kind.as_deref()) {
        (Some(_), Some(_), _) => return Err(wrong("it has both a file and a variable".into())),
        // As docker does it, `type=env,src=NAME` names a variable.
        (Some(name), None, Some("env")) | (None, Some(name), _) => SecretSource::Env(name),
        (Some(path), None, _) => SecretSource::File(path.into()),
        (None, None, Some("env")) => SecretSource::Env(id.clone()),
        (None, None, None) if is_set(&id) => SecretSource::Env(id.clone()),
        (None, None, _) => SecretSource::File(id.clone().into()),
    };
    match &source {
        SecretSource::Env(name) if !is_set(name) => Err(wrong(format!("the variable {name} is not set"))),
        SecretSource::File(path) => match is_file(path) {
            true => Ok(Secret { id, source }),
            false => Err(wrong(format!("there is no file {}", path.display()))),
        },
        SecretSource::Env(_) => Ok(Secret { id, source }),
    }
}

fn is_file(path: &Path) -> bool {
    // A named pipe or /dev/fd/3 is as good as a file.
    path.metadata().is_ok_and(|metadata| !metadata.is_dir())
}

/// Reads one `--ssh`: `default`, `ID`, `ID=SOCKET` or `ID=KEY[,KEY…]`.
pub fn ssh(text: &str, environment: &Environment) -> Result<Ssh, UsageError> {
    let wrong = |reason: String| UsageError::value(SSH, text, reason);
    let (id, paths) = text.split_once('=').map_or((text, None), |(id, paths)| (id, Some(paths)));
    if id.is_empty() {
        return Err(wrong("the id is missing".into()).with_help("use default, or ID=SOCKET, or ID=KEY"));
    }
    let paths: Vec<PathBuf> = match paths.filter(|paths| !paths.is_empty()) {
        Some(paths) => paths.split(',').map(PathBuf::from).collect(),
        None => match environment.path(environment::SSH_AUTH_SOCK) {
            Some(path) => vec![path],
            None => {
                return Err(wrong("SSH_AUTH_SOCK is not set: there is no agent".into())
                    .with_help("start one with eval $(ssh-agent) and ssh-add, or give a key with --ssh ID=FILE"));
            }
        },
    };
    let mut keys = Vec::new();
    for path in paths {
        match path.metadata() {
            Ok(meta) if meta.file_type().is_socket() => {
                let alone = text.matches(',').count() == 0;
                let both = || wrong("a socket and keys do not go together".into());
                return alone.then(|| Ssh { id: id.to_owned(), source: SshSource::Socket(path) }).ok_or_else(both);
            }
            Ok(meta) if !meta.is_dir() => keys.push(path),
            Ok(_) => return Err(wrong(format!("{} is a directory", path.display()))),
            Err(error) => return Err(wrong(format!("{}: {error}", path.display()))),
        }
    }
    Ok(Ssh { id: id.to_owned(), source: SshSource::Keys(keys) })
}

/// Reads one `--add-host`: `NAME:ADDRESS` or `NAME=ADDRESS`, an IPv6 address bare or in brackets.
pub fn host(text: &str) -> Result<HostEntry, UsageError> {
    let wrong = |reason: &str| UsageError::value(ADD_HOST, text, reason).with_help("use NAME:ADDRESS");
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = split.filter(|(name, _)| !name.is_empty()) else {
        return Err(wrong("the address or the name is missing"));
    };
    // Each becomes a line of a file, so a name may not bring lines or words of its own.
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(wrong("the name has a character that host names do not have"));
    }
    if address == "host-gateway" {
        return Err(UsageError::Unsupported {
            what: "--add-host NAME:host-gateway".into(),
            advice: "build with --network host, where the host is 127.0.0.1".into(),
        });
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| wrong("the address is no IP address"))?;
    Ok(HostEntry { name: name.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let environment = Environment::fixed(&[("TOKEN", "t"), ("EMPTY", "")]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "k").unwrap();
        let read = |text: &str| secret(text, &environment).map(|secret| secret.source);
        let file = Ok(SecretSource::File(path.clone()));
        assert_eq!(read(&format!("id=a,src={}", path.display())), file);
        assert_eq!(read(&format!("type=file,id=a,source={}", path.display())), file);
        assert_eq!(read("id=a,env=TOKEN"), Ok(SecretSource::Env("TOKEN".into())));
        assert_eq!(read("id=a,type=env,src=EMPTY"), Ok(SecretSource::Env("EMPTY".into())));
        assert_eq!(read("id=TOKEN"), Ok(SecretSource::Env("TOKEN".into())));
    }

    #[test]
    fn a_secret_that_is_not_there_is_refused_at_once() {
        let environment = Environment::fixed(&[]);
        let all = [
            "",
            "src=a",
            "id=a,env=NOT_SET",
            "id=a,src=/does/not/exist",
            "id=a,b=c",
            "id=a,src=/etc,env=B",
            "id=a,type=c",
        ];
        let shown: Vec<String> = all.iter().map(|text| secret(text, &environment).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn a_host_takes_both_separators_and_both_families() {
        let address = |text: &str| host(text).map(|entry| entry.address.to_string());
        assert_eq!(address("db:10.0.0.1"), Ok("10.0.0.1".into()));
        assert_eq!(address("db=10.0.0.1"), Ok("10.0.0.1".into()));
        assert_eq!(address("db:::1"), Ok("::1".into()));
        assert_eq!(address("db=[::1]"), Ok("::1".into()));
        for wrong in ["db", ":1.2.3.4", "db:x", "a b:1.2.3.4", "a\n1.1.1.1 b:1.2.3.4", "db:host-gateway"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
