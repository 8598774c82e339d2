//! Answers a registry's challenge: finds the login, gets a token where one is wanted, and remembers both.
//!
//! Tokens are kept for each source and repository until shortly before they expire; threads that need the same one wait for
//! one request. The protocol is that of the distribution project ("token authentication" and its OAuth 2 form).

use super::{
    challenge::Challenge,
    error::{Kind, Login, clean},
    keyring::Found,
    secret::{Credential, Secret},
    transport::{Answer, Call, Transport},
    url::{Scheme, Url, form_pair},
};
use base64::Engine as _;
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Largest answer of a token server; tokens are some kilobytes.
const TOKEN_MAX_BYTES: u64 = 1 << 20;
/// How long a token lives whose server does not say, and the least that is believed: what the protocol states.
const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(60);
/// A token is not used in the last seconds of its life, because the request takes time.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// The `Authorization` to send, and until when.
struct Grant {
    header: Secret,
    expires: Option<Instant>,
}

type Slot = Arc<Mutex<Option<Grant>>>;

/// What was granted so far.
#[derive(Default)]
pub(super) struct Grants {
    slots: Mutex<HashMap<(String, String), Slot>>,
}

/// Who asks whom for what.
pub(super) struct Asker<'a> {
    pub(super) transport: &'a Transport,
    /// The source's address.
    pub(super) base: &'a Url,
    /// The repository as this source names it.
    pub(super) repository: &'a str,
    pub(super) login: Found,
}

impl Grants {
    fn slot(&self, base: &Url, repository: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry((base.to_string(), repository.to_owned())).or_default().clone()
    }

    /// What was granted before and still holds.
    pub(super) fn current(&self, base: &Url, repository: &str) -> Option<Secret> {
        let slot = self.slot(base, repository);
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |grant: &&Grant| grant.expires.is_none_or(|at| Instant::now() < at);
        slot.as_ref().filter(alive).map(|grant| grant.header.clone())
    }

    /// Answers the challenge of an answer with status 401, which came to a request that was sent with `refused`.
    ///
    /// # Errors
    /// There is no answer to it: no login, a login that the token server refuses, or no token server.
    pub(super) fn answer(&self, asker: &Asker<'_>, answer: &Answer, refused: Option<&Secret>) -> Result<Secret, Kind> {
        let slot = self.slot(asker.base, asker.repository);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = slot.as_ref().filter(|grant| Some(&grant.header) != refused) {
            // Another thread met the same challenge first.
            return Ok(grant.header.clone());
        }
        *slot = None;
        let headers = answer.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = headers.flat_map(super::challenge::parse).collect();
        let offered = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let grant = match (offered("bearer"), offered("basic")) {
            (Some(challenge), _) => asker.token(challenge)?,
            (None, Some(_)) => asker.basic()?,
            (None, None) => return Err(asker.denied(401, "it offers no way to log in that is known")),
        };
        Ok(slot.insert(grant).header.clone())
    }
}

impl Asker<'_> {
    /// An error for an access that is denied, which says whether a login was there.
    pub(super) fn denied(&self, status: u16, detail: &str) -> Kind {
        let login = match &self.login {
            Found::Nothing => Login::Anonymous,
            Found::Login(_) => Login::Sent,
            Found::Trouble(trouble) => Login::Trouble(trouble.clone()),
        };
        Kind::Denied { host: self.base.authority(), status, detail: detail.to_owned(), login }
    }

    fn basic(&self) -> Result<Grant, Kind> {
        match &self.login {
            Found::Login(Credential::Basic { username, password }) => {
                Ok(Grant { header: basic_header(username, password), expires: None })
            }
            _ => Err(self.denied(401, "it wants a user and a password")),
        }
    }

    fn token(&self, challenge: &Challenge) -> Result<Grant, Kind> {
        if let Found::Login(Credential::Bearer(token)) = &self.login {
            return Ok(Grant { header: Secret::new(format!("Bearer {}", token.reveal())), expires: None });
        }
        let malformed = |detail: &str| Kind::Malformed {
            what: format!("the challenge of {}", self.base.authority()),
            detail: detail.to_owned(),
        };
        let realm = challenge.get("realm").ok_or_else(|| malformed("it names no token server"))?;
        let (realm, _) = Url::parse(realm).map_err(malformed)?;
        let plain_to_plain = self.base.scheme() == Scheme::Http && self.login == Found::Nothing;
        if !self.transport.is_safe(&realm) && !plain_to_plain {
            return Err(malformed("its token server has no TLS"));
        }
        let started = Instant::now();
        let mut answer = self.ask(&realm, challenge)?;
        let body = answer.body.read_all(TOKEN_MAX_BYTES)?;
        let host = realm.authority();
        let what = "a token".to_owned();
        match answer.status {
            200 => {}
            // 400 is what OAuth 2 says of a refresh token that is no longer good.
            400 | 401 | 403 => {
                return Err(self.denied(answer.status, &format!("its token server {host} refuses the request")));
            }
            429 => return Err(Kind::RateLimited { host, detail: String::new(), retry_after: None }),
            status => return Err(Kind::Status { host, status, what, detail: String::new() }),
        }
        let unusable =
            |detail: &str| Kind::Malformed { what: format!("the token of {host}"), detail: detail.to_owned() };
        // What stands in a broken token answer is not repeated: it may be the token.
        let answer: TokenAnswer =
            serde_json::from_slice(&body.unwrap_or_default()).map_err(|_| unusable("it is not the expected JSON"))?;
        let token = Some(answer.token).filter(|token| !token.is_empty()).unwrap_or(answer.access_token);
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unusable("it is empty or has characters that no token has"));
        }
        let life = Duration::from_secs(answer.expires_in).max(TOKEN_LIFE_DEFAULT);
        // A life beyond what a clock can hold is a life without end.
        let expires = started.checked_add(life.saturating_sub(TOKEN_MARGIN));
        Ok(Grant { header: Secret::new(format!("Bearer {token}")), expires })
    }

    /// Asks the token server: with a form for a refresh token, else with a query and, where there is one, the login.
    fn ask(&self, realm: &Url, challenge: &Challenge) -> Result<Answer, Kind> {
        let own = format!("repository:{}:pull", self.repository);
        let scope = challenge.get("scope").filter(|scope| !scope.is_empty()).unwrap_or(&own);
        let service = challenge.get("service").filter(|service| !service.is_empty());
        let headers = [("accept", "application/json")];
        if let Found::Login(Credential::Identity(token)) = &self.login {
            let mut pairs = vec![("grant_type", "refresh_token"), ("client_id", "kiln"), ("scope", scope)];
            pairs.extend(service.map(|service| ("service", service)));
            pairs.push(("refresh_token", token.reveal()));
            let form: Vec<String> = pairs.iter().map(|(name, value)| form_pair(name, value)).collect();
            let form = Secret::new(form.join("&"));
            let call = Call { url: realm, headers: &headers, authorization: None, form: Some(&form) };
            return self.transport.send(&call);
        }
        let mut pairs: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        pairs.extend(scope.split(' ').filter(|one| !one.is_empty()).map(|one| ("scope", one)));
        let login = match &self.login {
            Found::Login(Credential::Basic { username, password }) => Some((username, password)),
            _ => None,
        };
        pairs.extend(login.map(|(username, _)| ("account", username.as_str())));
        let authorization = login.map(|(username, password)| basic_header(username, password));
        let url = realm.with_query(&pairs);
        self.transport.send(&Call { url: &url, headers: &headers, authorization: authorization.as_ref(), form: None })
    }
}

fn basic_header(username: &str, password: &Secret) -> Secret {
    let engine = base64::engine::general_purpose::STANDARD;
    Secret::new(format!("Basic {}", engine.encode(format!("{username}:{}", password.reveal()))))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenAnswer {
    token: String,
    access_token: String,
    expires_in: u64,
}

/// What the body of an error says: the first of its `errors`, or nothing where it has another form.
pub(super) fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<One>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct One {
        code: String,
        message: String,
    }
    let errors: Vec<One> = serde_json::from_slice(body).map_or_else(|_| Vec::new(), |parsed: Errors| parsed.errors);
    let Some(first) = errors.into_iter().next() else {
        return String::new();
    };
    let parts = [first.message, first.code].map(|part| clean(&part));
    match parts {
        [message, code] if message.is_empty() => code,
        [message, code] if code.is_empty() || message.eq_ignore_ascii_case(&code) => message,
        [message, code] => format!("{message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_error_are_taken_from_its_form_only() {
        let text = error_text(br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m access","detail":{"x":1}}]}"#);
        assert_eq!(text, "no[31m access (DENIED)");
        assert_eq!(error_text(br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#), "UNAUTHORIZED");
        for other in ["<html>secret</html>", "", "{}", "{\"errors\":[]}", "[]"] {
            assert_eq!(error_text(other.as_bytes()), "", "{other}");
        }
    }
}
