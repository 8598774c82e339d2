//! What `-o` means: docker's `type=…,dest=…`, a bare directory, or `-`.
//!
//! Pure: knows nothing of what is at the destination.

use super::csv::attributes;
use crate::failure::UsageError;
use kiln_engine::api::{Algorithm, Compression, Destination, Output};

const FLAG: &str = "-o/--output";

/// What one `-o` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Typed {
    /// The output.
    pub output: Output,
    /// The image names that it gives as well.
    pub names: Vec<String>,
}

/// Reads one.
pub fn parse(text: &str) -> Result<Typed, UsageError> {
    let wrong = |reason: &str| UsageError::value(FLAG, text, reason);
    if text.is_empty() {
        return Err(wrong("it is empty").with_help("use -o DIR, -o - or -o type=oci,dest=FILE"));
    }
    if text == "-" {
        return Ok(Typed { output: Output::Tar { dest: Destination::Stdout }, names: Vec::new() });
    }
    let fields = attributes(FLAG, text)?;
    if let [(_, None)] = fields.as_slice() {
        return Ok(Typed { output: Output::Local { dest: text.into() }, names: Vec::new() });
    }
    // Before its attributes, which kiln does not have either.
    let mut kinds = fields.iter().filter(|(key, _)| key == "type").filter_map(|(_, value)| value.as_deref());
    if let Some(kind) = kinds.find(|kind| matches!(*kind, "image" | "registry")) {
        return Err(UsageError::Unsupported {
            what: format!("-o type={kind}"),
            advice: "name the image with -t; to push it, write it with -o type=oci,dest=FILE and use skopeo".into(),
        });
    }
    let mut asked = Asked::default();
    for (key, value) in fields {
        let value = value.ok_or_else(|| wrong(&format!("the attribute {key:?} has no value")))?;
        asked.set(&key, value, text)?;
    }
    asked.meaning(text)
}

/// The attributes as they were found.
#[derive(Default)]
struct Asked {
    kind: Option<String>,
    dest: Option<String>,
    tar: Option<bool>,
    algorithm: Option<Algorithm>,
    level: Option<i32>,
    names: Vec<String>,
}

impl Asked {
    fn set(&mut self, key: &str, value: String, text: &str) -> Result<(), UsageError> {
        let wrong = |reason: String| UsageError::value(FLAG, text, reason);
        match key {
            "type" => self.kind = Some(value),
            "dest" if value.is_empty() => return Err(wrong("dest is empty".into())),
            "dest" => self.dest = Some(value),
            "tar" => {
                let yes = value.parse().map_err(|_| wrong("tar must be true or false".into()))?;
                self.tar = Some(yes);
            }
            "name" => self.names.extend(value.split(',').map(str::to_owned)),
            "compression" => {
                self.algorithm = Some(match value.as_str() {
                    "gzip" => Algorithm::Gzip,
                    "zstd" => Algorithm::Zstd,
                    "uncompressed" => Algorithm::None,
                    other => {
                        let reason = format!("compression {other:?} is not gzip, zstd or uncompressed");
                        return Err(wrong(reason));
                    }
                });
            }
            "compression-level" => {
                let level = value.parse().map_err(|_| wrong("compression-level must be a number".into()))?;
                self.level = Some(level);
            }
            other => return Err(wrong(format!("kiln has no attribute {other:?} for outputs"))),
        }
        Ok(())
    }

    fn meaning(self, text: &str) -> Result<Typed, UsageError> {
        let wrong = |reason: &str| UsageError::value(FLAG, text, reason);
        let Some(kind) = self.kind else {
            return Err(wrong("the type is missing").with_help(format!("write type=oci,{text}")));
        };
        let is_compressed = self.algorithm.is_some() || self.level.is_some();
        if kind != "oci" && (self.tar.is_some() || is_compressed) {
            return Err(wrong("tar, compression and compression-level are for type=oci only"));
        }
        if !matches!(kind.as_str(), "oci" | "docker") && !self.names.is_empty() {
            return Err(wrong("files have no name").with_help("leave name out"));
        }
        let compression = Compression { algorithm: self.algorithm.unwrap_or_default(), level: self.level };
        check_level(compression).map_err(|reason| wrong(&reason))?;
        let dest = self.dest;
        let stream = |dest: Option<String>| match dest.as_deref() {
            None | Some("-") => Destination::Stdout,
            Some(path) => Destination::Path(path.into()),
        };
        let output = match kind.as_str() {
            "oci" => {
                let tar = self.tar.unwrap_or(true);
                let dest = stream(dest);
                if !tar && dest == Destination::Stdout {
                    return Err(wrong("a directory needs a dest").with_help("add dest=DIR"));
                }
                Output::Oci { dest, tar, compression }
            }
            "docker" if dest.is_none() => {
                return Err(UsageError::Unsupported {
                    what: "-o type=docker without dest".into(),
                    advice: "kiln has no daemon to load into: use -o type=docker,dest=- | docker load".into(),
                });
            }
            "docker" => Output::Docker { dest: stream(dest) },
            "tar" => Output::Tar { dest: stream(dest) },
            "local" => match dest {
                None => return Err(wrong("the dest is missing").with_help("add dest=DIR")),
                Some(dest) if dest == "-" => {
                    return Err(wrong("a directory cannot go to standard output").with_help("use type=tar,dest=-"));
                }
                Some(dest) => Output::Local { dest: dest.into() },
            },
            _ => return Err(wrong("the type must be oci, docker, local or tar")),
        };
        Ok(Typed { output, names: self.names })
    }
}

fn check_level(compression: Compression) -> Result<(), String> {
    let levels = match compression.algorithm {
        Algorithm::None => 0..=0,
        Algorithm::Gzip => 0..=9,
        Algorithm::Zstd => 1..=22,
    };
    match compression.level {
        Some(level) if !levels.contains(&level) => {
            Err(format!("compression-level must be from {} to {}", levels.start(), levels.end()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        parse(text).unwrap().output
    }

    #[test]
    fn each_type_is_read_with_its_destination() {
        let path = |text: &str| Destination::Path(text.into());
        let compression = Compression::default();
        assert_eq!(output("type=oci,dest=a.tar"), Output::Oci { dest: path("a.tar"), tar: true, compression });
        assert_eq!(output("type=oci,dest=dir,tar=false"), Output::Oci { dest: path("dir"), tar: false, compression });
        assert_eq!(output("type=oci"), Output::Oci { dest: Destination::Stdout, tar: true, compression });
        assert_eq!(output("type=docker,dest=-"), Output::Docker { dest: Destination::Stdout });
        assert_eq!(output("type=local,dest=out"), Output::Local { dest: "out".into() });
        assert_eq!(output("type=tar,dest=a.tar"), Output::Tar { dest: path("a.tar") });
        assert_eq!(output("out/dir"), Output::Local { dest: "out/dir".into() });
        assert_eq!(output("-"), Output::Tar { dest: Destination::Stdout });
        let compression = Compression { algorithm: Algorithm::Zstd, level: Some(19) };
        assert_eq!(
            output("type=oci,dest=a,compression=zstd,compression-level=19"),
            Output::Oci { dest: path("a"), tar: true, compression }
        );
    }

    #[test]
    fn names_of_an_output_are_names_of_the_image() {
        assert_eq!(parse(r#"type=oci,dest=a,"name=x,y:1""#).unwrap().names, ["x", "y:1"]);
    }

    #[test]
    fn what_means_nothing_is_refused_in_words() {
        let all = [
            "",
            "dest=a",
            "type=oci,dest=a,push=true",
            "type=oci,tar=false",
            "type=oci,dest=",
            "type=oci,dest=a,tar",
            "type=oci,dest=a,compression=lz4",
            "type=oci,dest=a,compression-level=10",
            "type=docker",
            "type=local",
            "type=local,dest=-",
            "type=local,dest=a,tar=true",
            "type=tar,dest=a,name=x",
            "type=registry,name=x",
            "type=image,name=x,push=true",
            "type=other,dest=a",
            "\"type=oci",
        ];
        let shown: Vec<String> = all.iter().map(|text| parse(text).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }
}
