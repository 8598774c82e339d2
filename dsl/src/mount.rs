//! The value of `RUN --mount`: `type=cache,target=/root/.cache,sharing=locked`.
//!
//! One record of CSV whose fields are keys and values; the keys' meaning is BuildKit's, the order of keys included
//! (`required` and `size` need `type` before them). Knows nothing of stages, paths or secrets.

use crate::{csv, size, suggest};
use std::fmt;
use std::ops::Range;

/// What is mounted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[expect(missing_docs, reason = "each variant is the type of its name")]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Sharing {
    /// Everyone.
    #[default]
    Shared,
    /// Whoever comes second gets another cache.
    Private,
    /// Whoever comes second waits.
    Locked,
}

const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// A mount as written; defaults that depend on more than the mount are left to whoever makes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mount {
    /// `type`
    pub kind: MountKind,
    /// `from`
    pub from: Option<String>,
    /// `source`, `src`
    pub source: Option<String>,
    /// `target`, `dst`, `destination`
    pub target: Option<String>,
    /// `readonly`, `ro`, `readwrite`, `rw`; where none is written a cache or tmpfs is writable and the others are not.
    pub read_only: Option<bool>,
    /// `id`
    pub id: Option<String>,
    /// `sharing`
    pub sharing: Sharing,
    /// `required`
    pub required: bool,
    /// `size` in bytes
    pub size: Option<u64>,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `env`
    pub env: Option<String>,
}

/// Why text is no mount.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MountError {
    /// Quotes that do not pair, or an empty value.
    #[error("failed to parse csv mounts: {0:?}")]
    Csv(String),
    /// A key that no mount has.
    #[error("unexpected key '{key}' in '{field}'")]
    UnknownKey {
        /// The key in lower case.
        key: String,
        /// The whole field.
        field: String,
    },
    /// A key that this type of mount does not have, or not yet: `type` must stand before it.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyNotAllowed {
        /// The key.
        key: &'static str,
        /// The type so far.
        kind: &'static str,
    },
    /// A key without `=`.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A value that its key does not take.
    #[error("invalid value for {key}: {value}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Not a type of mount.
    #[error("unsupported mount type {0:?}")]
    UnknownKind(String),
    /// Not a mode of sharing.
    #[error("unsupported sharing value {0:?}")]
    UnknownSharing(String),
    /// `from` names a stage or image, never through a variable.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    VariableInFrom,
    /// Keys that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// A value could not be expanded.
    #[error("{0}")]
    Expand(String),
}

impl MountError {
    /// The way out, if one is known.
    pub fn help(&self) -> Option<String> {
        let nearest = |word: &str, known: &mut dyn Iterator<Item = &'static str>| {
            suggest::nearest(word, known).map(|near| format!("did you mean {near}?"))
        };
        match self {
            MountError::UnknownKey { key, .. } => nearest(key, &mut KEYS.into_iter()),
            MountError::UnknownKind(kind) => nearest(kind, &mut KINDS.iter().map(|known| known.0)),
            MountError::UnknownSharing(value) => nearest(value, &mut SHARINGS.iter().map(|known| known.0)),
            MountError::KeyNotAllowed { kind: "bind", .. } => Some("type= must stand before this key".to_owned()),
            MountError::VariableInFrom => Some("write FROM $image AS name, and from=name".to_owned()),
            _ => None,
        }
    }
}

impl Mount {
    /// Reads `text`, every value through `expand`.
    ///
    /// # Errors
    /// As BuildKit; `expand`'s own error becomes [`MountError::Expand`].
    pub fn parse(text: &str, expand: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<Mount, MountError> {
        let mut reader = Reader::default();
        for field in csv::fields(text).ok_or_else(|| MountError::Csv(text.to_owned()))? {
            let (key, value) = split(&field);
            check_from(&key, value)?;
            let value = value.map(&mut *expand).transpose().map_err(MountError::Expand)?;
            reader.field(&key, value.as_deref(), &field)?;
        }
        reader.finish()
    }

    /// Checks what can be checked before variables are known: fields whose values hold a `$` are left unread.
    ///
    /// # Errors
    /// As [`Mount::parse`].
    pub fn check(text: &str) -> Result<(), MountError> {
        let mut reader = Reader::default();
        let mut complete = true;
        for field in csv::fields(text).ok_or_else(|| MountError::Csv(text.to_owned()))? {
            let (key, value) = split(&field);
            check_from(&key, value)?;
            if value.is_some_and(|value| value.contains('$')) {
                if !KEYS.contains(&key.as_str()) {
                    return Err(MountError::UnknownKey { key, field });
                }
                complete = false;
            } else if complete || !matches!(key.as_str(), "required" | "size") {
                reader.field(&key, value, &field)?;
            }
        }
        if complete { reader.finish().map(drop) } else { Ok(()) }
    }

    /// Whether the mount is read-only, the type's default included.
    pub fn is_read_only(&self) -> bool {
        self.read_only.unwrap_or(!matches!(self.kind, MountKind::Cache | MountKind::Tmpfs))
    }
}

/// The mount as it can be written, each key by its first name and in the order of the fields; no two mounts alike.
impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sharing = SHARINGS.iter().find(|known| known.1 == self.sharing).map_or("", |known| known.0);
        let texts = [
            ("from", self.from.clone()),
            ("source", self.source.clone()),
            ("target", self.target.clone()),
            ("readonly", self.read_only.map(|value| value.to_string())),
            ("id", self.id.clone()),
            ("sharing", (self.sharing != Sharing::default()).then(|| sharing.to_owned())),
            ("required", self.required.then(|| self.required.to_string())),
            ("size", self.size.map(|size| size.to_string())),
            ("mode", self.mode.map(|mode| format!("{mode:o}"))),
            ("uid", self.uid.map(|uid| uid.to_string())),
            ("gid", self.gid.map(|gid| gid.to_string())),
            ("env", self.env.clone()),
        ];
        write!(f, "type={}", self.kind.name())?;
        for (key, value) in texts {
            match value {
                Some(value) if value.contains([',', '"', '\n', '\r']) => {
                    write!(f, ",\"{key}={}\"", value.replace('"', "\"\""))?;
                }
                Some(value) => write!(f, ",{key}={value}")?,
                None => {}
            }
        }
        Ok(())
    }
}

impl MountKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }
}

fn split(field: &str) -> (String, Option<&str>) {
    match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value)),
        None => (field.to_lowercase(), None),
    }
}

/// Where the value of `from` stands in `text`, the value of a `--mount`; `None` if it has none, or is quoted.
pub fn from_range(text: &str) -> Option<Range<usize>> {
    const KEY: &str = "from=";
    let begins = |at: &usize| {
        let is_field = *at == 0 || text.as_bytes()[at - 1] == b',';
        is_field && text.get(*at..at + KEY.len()).is_some_and(|key| key.eq_ignore_ascii_case(KEY))
    };
    let start = (0..text.len()).find(begins)? + KEY.len();
    let value = &text[start..];
    let comma = value.find(',').unwrap_or(value.len());
    // The commas of a branch's name part no fields.
    let end = match (value.find('['), value.find(']')) {
        (Some(open), Some(close)) if open < comma && open < close => close + 1,
        _ => comma,
    };
    Some(start..start + end)
}

fn check_from(key: &str, value: Option<&str>) -> Result<(), MountError> {
    // The values of a branch's name are known before anything is planned.
    let value = value.map(|value| value.split('[').next().unwrap_or_default());
    let variable = value.and_then(|value| value.find('$').map(|at| at + 1 != value.len())).unwrap_or(false);
    if key == "from" && variable { Err(MountError::VariableInFrom) } else { Ok(()) }
}

#[derive(Default)]
struct Reader {
    mount: Mount,
    sharing_written: bool,
}

impl Reader {
    fn field(&mut self, key: &str, value: Option<&str>, field: &str) -> Result<(), MountError> {
        let mount = &mut self.mount;
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => mount.read_only = Some(true),
                "readwrite" | "rw" => mount.read_only = Some(false),
                "required" => mount.required = only(mount.kind, "required", &[MountKind::Secret, MountKind::Ssh])?,
                _ => return Err(MountError::NoValue(field.to_owned())),
            }
            return Ok(());
        };
        let invalid = || MountError::InvalidValue { key: key.to_owned(), value: value.to_owned() };
        let number = |radix| if value.starts_with('+') { None } else { u32::from_str_radix(value, radix).ok() };
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "type" => {
                let lower = value.to_lowercase();
                let known = KINDS.iter().find(|known| known.0 == lower);
                mount.kind = known.ok_or_else(|| MountError::UnknownKind(value.to_owned()))?.1;
            }
            "from" => mount.from = text(),
            "source" | "src" => mount.source = text(),
            "target" | "dst" | "destination" => mount.target = text(),
            "readonly" | "ro" => mount.read_only = Some(boolean(value).ok_or_else(invalid)?),
            "readwrite" | "rw" => mount.read_only = Some(!boolean(value).ok_or_else(invalid)?),
            "required" => {
                only(mount.kind, "required", &[MountKind::Secret, MountKind::Ssh])?;
                mount.required = boolean(value).ok_or_else(invalid)?;
            }
            "size" => {
                only(mount.kind, "size", &[MountKind::Tmpfs])?;
                mount.size = Some(size::parse(value).map_err(|_| invalid())?);
            }
            "id" => mount.id = text(),
            "sharing" => {
                let lower = value.to_lowercase();
                let known = SHARINGS.iter().find(|known| known.0 == lower);
                mount.sharing = known.ok_or_else(|| MountError::UnknownSharing(value.to_owned()))?.1;
                self.sharing_written = true;
            }
            "mode" => mount.mode = Some(number(8).ok_or_else(invalid)?),
            "uid" => mount.uid = Some(number(10).ok_or_else(invalid)?),
            "gid" => mount.gid = Some(number(10).ok_or_else(invalid)?),
            // An empty name is a name: the secret's own.
            "env" => mount.env = Some(value.to_owned()),
            _ => return Err(MountError::UnknownKey { key: key.to_owned(), field: field.to_owned() }),
        }
        Ok(())
    }

    /// The rules between keys.
    fn finish(self) -> Result<Mount, MountError> {
        let Reader { mount, sharing_written } = self;
        let conflict = |text: String| Err(MountError::Conflict(text));
        let kind = mount.kind;
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            let owned = [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)];
            if let Some((key, _)) = owned.iter().find(|(_, value)| value.is_some()) {
                return conflict(format!("{key} not allowed for {:?} type mounts", kind.name()));
            }
        }
        if kind == MountKind::Secret {
            if mount.from.is_some() {
                return conflict("secret mount should not have a from".to_owned());
            }
            if sharing_written {
                return conflict("secret mount should not define sharing".to_owned());
            }
            if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
                return conflict("invalid secret mount. one of source, target required".to_owned());
            }
            if mount.source.is_some() && mount.id.is_some() {
                return conflict("both source and id can't be set".to_owned());
            }
        }
        if sharing_written && kind != MountKind::Cache {
            return conflict(format!("invalid cache sharing set for {} mount", kind.name()));
        }
        Ok(mount)
    }
}

/// `true`, where the type has the key.
fn only(kind: MountKind, key: &'static str, allowed: &[MountKind]) -> Result<bool, MountError> {
    if allowed.contains(&kind) { Ok(true) } else { Err(MountError::KeyNotAllowed { key, kind: kind.name() }) }
}

/// Go's `ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_from_is_found_with_the_commas_of_a_branch() {
        for (text, expected) in [
            ("type=bind,from=a,target=/x", Some("a")),
            ("from=t[1,b],target=/x", Some("t[1,b]")),
            ("FROM=t[${X}]", Some("t[${X}]")),
            ("from=,target=/x", Some("")),
            ("from=a,target=/x[1]", Some("a")),
            ("type=cache,target=/from=x", None),
            ("é,from=é", Some("é")),
        ] {
            assert_eq!(from_range(text).map(|range| &text[range]), expected, "{text}");
        }
    }

    fn parse(text: &str) -> Result<Mount, String> {
        Mount::parse(text, &mut |value| Ok(value.replace("$v", "x"))).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_read_in_any_case_and_values_are_expanded() {
        let mount = parse("Type=CACHE,TARGET=/root/$v,sharing=Locked,mode=0700,uid=1,ro=false").expect("a mount");
        assert_eq!(
            mount,
            Mount {
                kind: MountKind::Cache,
                target: Some("/root/x".into()),
                sharing: Sharing::Locked,
                mode: Some(0o700),
                uid: Some(1),
                read_only: Some(false),
                ..Mount::default()
            }
        );
        assert_eq!(parse("type=tmpfs,\"target=/a,\"\"b\",size=64m").expect("a mount").target, Some("/a,\"b".into()));
        assert!(parse("type=secret,id=a,required").expect("a mount").required);
        assert!(parse("target=/a").expect("a mount").is_read_only());
    }

    #[test]
    fn a_mount_that_is_written_again_is_the_same() {
        for (text, again) in [
            ("target=/a", "type=bind,target=/a"),
            ("type=bind,from=x,src=/s,dst=/d,rw", "type=bind,from=x,source=/s,target=/d,readonly=false"),
            (
                "sharing=locked,type=cache,target=/c,mode=0700,uid=1,gid=2",
                "type=cache,target=/c,sharing=locked,mode=700,uid=1,gid=2",
            ),
            ("type=tmpfs,\"target=/a,\"\"b\",size=64m", "type=tmpfs,\"target=/a,\"\"b\",size=67108864"),
            ("type=secret,id=a,required,env=A", "type=secret,id=a,required=true,env=A"),
            ("type=secret,id=a,env=", "type=secret,id=a,env="),
        ] {
            let mount = parse(text).expect("a mount");
            assert_eq!(mount.to_string(), again, "{text}");
            assert_eq!(parse(&mount.to_string()).expect("a mount"), mount, "{text}");
        }
    }

    #[test]
    fn what_buildkit_refuses_is_refused() {
        for (text, want) in [
            ("", "failed to parse csv mounts: \"\""),
            ("target=\"a", "failed to parse csv mounts: \"target=\\\"a\""),
            ("type=foo", "unsupported mount type \"foo\""),
            ("tpe=bind", "unexpected key 'tpe' in 'tpe=bind'"),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("size=1,type=tmpfs", "unexpected key 'size' for mount type 'bind'"),
            ("required", "unexpected key 'required' for mount type 'bind'"),
            ("type=bind,uid=0", "uid not allowed for \"bind\" type mounts"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,source=b", "both source and id can't be set"),
            ("sharing=locked", "invalid cache sharing set for bind mount"),
            ("type=cache,mode=9", "invalid value for mode: 9"),
            ("from=$x,target=/a", "'from' doesn't support variable expansion, define alias stage instead"),
        ] {
            assert_eq!(parse(text).expect_err("an error"), want);
        }
    }

    #[test]
    fn before_expansion_values_with_variables_are_not_judged() {
        assert_eq!(Mount::check("type=$kind,size=1,target=/a"), Ok(()));
        assert_eq!(Mount::check("type=cache,mode=$mode"), Ok(()));
        assert!(Mount::check("type=cache,mode=9,id=$x").is_err());
        assert_eq!(Mount::check("tye=cache").expect_err("an error").help().as_deref(), Some("did you mean type?"));
        assert!(Mount::check("type=cache,foo=$x").is_err());
    }
}
