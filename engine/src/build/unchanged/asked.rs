//! The digest of what a build is asked for, as far as it decides anything: the request, the Dockerfile with all that it
//! includes, and the program that builds.

use super::super::File;
use crate::api::Request;
use kiln_dsl::platform::Platform;
use std::os::unix::fs::MetadataExt as _;

/// The digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Asked {
    digest: [u8; 32],
    /// Whether the answer may be taken from the record of an earlier build.
    pub may_be_told: bool,
}

impl Asked {
    /// The bytes that are kept.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether an earlier build was asked for the same.
    pub fn is(&self, earlier: &[u8; 32]) -> bool {
        self.digest == *earlier
    }
}

/// The digest of what is asked for; `None` where the program cannot be told from another version of it.
pub(in super::super) fn asked(request: &Request, file: &File) -> Option<Asked> {
    // Every field is named, so that a new one cannot be forgotten.
    let Request {
        context,
        contexts,
        dockerfile: _, // as it was found: `file`
        targets,
        build_args,
        labels,
        tags,
        outputs,
        no_cache,
        no_cache_filter,
        fail_on_miss, // a build that is told misses nowhere, but whether the names are of stages is known to a plan only
        verify,
        trace,
        strict,
        jobs: _,
        network,
        pull,
        platforms,
        secrets,
        ssh,
        allow,
        add_hosts,
        shm_size,
        source_date_epoch,
        want_image_id: _, // looked at with the results
        on_error_shell: _,
        registry: _, // it gives images, which are looked at by themselves
        by_record,
        store: _,
    } = request;
    let mut hasher = blake3::Hasher::new_derive_key("kiln unchanged build v1");
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    put(program()?.as_bytes());
    put(Platform::host().to_string().as_bytes());
    put(format!("{context:?} {contexts:?} {:?}", file.name).as_bytes());
    for target in targets {
        let crate::api::Target { stage, name, tags, labels, outputs: _, platforms } = target;
        put(format!("{stage:?} {name:?} {tags:?} {labels:?} {platforms:?}").as_bytes());
    }
    put(format!("{build_args:?} {labels:?} {tags:?} {trace:?} {network:?} {platforms:?}").as_bytes());
    put(format!("{secrets:?} {ssh:?} {allow:?} {add_hosts:?} {shm_size:?} {source_date_epoch:?}").as_bytes());
    for (name, text) in file.sources.files() {
        put(name.as_bytes());
        put(text.as_bytes());
    }
    put(file.sources.text().as_bytes());
    let has_outputs = !outputs.is_empty() || targets.iter().any(|target| !target.outputs.is_empty());
    let names_stages = fail_on_miss.as_ref().is_some_and(|stages| !stages.is_empty());
    let wants_more =
        names_stages || *no_cache || !no_cache_filter.is_empty() || *verify || *strict || *pull || has_outputs;
    Some(Asked { digest: *hasher.finalize().as_bytes(), may_be_told: *by_record && !wants_more })
}

/// Names the running program: another one may plan otherwise, whatever its version says.
fn program() -> Option<String> {
    let found = std::fs::metadata("/proc/self/exe").ok()?;
    Some(format!(
        "{} {} {} {} {} {}",
        env!("CARGO_PKG_VERSION"),
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec()
    ))
}
