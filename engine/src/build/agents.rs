//! The ssh agents that a build was given, by id; one of our own for key files, started when a step first needs it.

use crate::agent::{AgentError, OwnAgent};
use crate::api::{Request, SshSource};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The id of the agent that mounts use which name none, and that git uses.
const DEFAULT: &str = "default";

/// The agents of one build.
pub(crate) struct Agents<'a> {
    request: &'a Request,
    /// Those of our own, each in a directory that goes with it.
    own: Mutex<HashMap<String, (OwnAgent, tempfile::TempDir)>>,
}

impl<'a> Agents<'a> {
    pub fn new(request: &'a Request) -> Self {
        Agents { request, own: Mutex::new(HashMap::new()) }
    }

    /// The socket of the agent with this id; `None` where the build was given none.
    pub fn socket(&self, id: &str) -> Result<Option<PathBuf>, AgentError> {
        let Some(given) = self.request.ssh.iter().find(|given| given.id == id) else { return Ok(None) };
        let keys = match &given.source {
            SshSource::Socket(path) => return Ok(Some(path.clone())),
            SshSource::Keys(keys) => keys,
        };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((agent, _)) = own.get(id) {
            return Ok(Some(agent.socket().to_path_buf()));
        }
        // Not in the store, whose path may be longer than an address can be.
        let place = tempfile::Builder::new().prefix("kiln-ssh").tempdir();
        let place = place.map_err(|source| AgentError::Run { program: "ssh-agent", source })?;
        let agent = OwnAgent::start(keys, place.path())?;
        let socket = agent.socket().to_path_buf();
        own.insert(id.to_owned(), (agent, place));
        Ok(Some(socket))
    }

    /// The socket for git.
    pub fn for_git(&self) -> Option<PathBuf> {
        self.socket(DEFAULT).ok().flatten()
    }
}
