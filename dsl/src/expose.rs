//! The ports of EXPOSE: `80`, `8000-8002/udp`, and the forms of `docker run -p` that BuildKit takes too.
//!
//! Reads one word after expansion. What stands before the container's port is checked and has no effect.

use std::net::IpAddr;
use std::str::FromStr;

/// Why a word is no port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExposeError {
    /// Nothing where the container's port should stand.
    #[error("invalid port: {word:?}: no port specified")]
    NoPort {
        /// The whole word.
        word: String,
    },
    /// A protocol other than tcp, udp, sctp.
    #[error("invalid port: {word:?}: invalid proto: {protocol}")]
    Protocol {
        /// The whole word.
        word: String,
        /// The protocol.
        protocol: String,
    },
    /// No IP address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// No port or range of ports from 0 to 65535.
    #[error("invalid {what}: {text}")]
    Range {
        /// `containerPort` or `hostPort`.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// Two ranges of different lengths.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Lengths {
        /// The container's range.
        container: String,
        /// The host's range.
        host: String,
    },
}

/// The ports that `word` stands for, each as `port/protocol`.
///
/// # Errors
/// On what is no port specification; the messages are BuildKit's.
pub fn ports(word: &str) -> Result<Vec<String>, ExposeError> {
    let (address, host, container) = parts(word);
    let (container, protocol) = match container.split_once('/') {
        Some((port, protocol)) => (port, protocol.to_ascii_lowercase()),
        None => (container, String::new()),
    };
    if container.is_empty() {
        return Err(ExposeError::NoPort { word: word.to_owned() });
    }
    let protocol = match protocol.as_str() {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => &protocol,
        _ => return Err(ExposeError::Protocol { word: word.to_owned(), protocol }),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if !bare.is_empty() && IpAddr::from_str(bare).is_err() {
        return Err(ExposeError::Address(bare.to_owned()));
    }
    let range_of = |what, text: &str| range(text).ok_or_else(|| ExposeError::Range { what, text: text.to_owned() });
    let (start, end) = range_of("containerPort", container)?;
    if !host.is_empty() {
        let (host_start, host_end) = range_of("hostPort", host)?;
        if end - start != host_end - host_start && end != start {
            return Err(ExposeError::Lengths { container: container.to_owned(), host: host.to_owned() });
        }
    }
    Ok((start..=end).map(|port| format!("{port}/{protocol}")).collect())
}

/// Whether `word` has a host's part, which EXPOSE ignores, or a protocol that is not in lower case.
pub fn is_odd(word: &str) -> (bool, bool) {
    let (address, host, container) = parts(word);
    let protocol = container.split_once('/').map_or("", |(_, protocol)| protocol);
    (!address.is_empty() || !host.is_empty(), protocol.bytes().any(|b| b.is_ascii_uppercase()))
}

/// Address, host's port, container's port; all but the last may be empty.
fn parts(word: &str) -> (&str, &str, &str) {
    match word.rsplit_once(':') {
        None => ("", "", word),
        Some((before, container)) => match before.rsplit_once(':') {
            None => ("", before, container),
            Some((address, host)) => (address, host, container),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok();
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(text)?, number(text)?),
    };
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_protocols_are_spelled_out() {
        assert_eq!(ports("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(ports("8000-8002/UDP"), Ok(vec!["8000/udp".into(), "8001/udp".into(), "8002/udp".into()]));
        assert_eq!(ports("127.0.0.1:8080:80/"), Ok(vec!["80/tcp".into()]));
        assert_eq!(ports("[::1]:8080-8090:80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(ports("0-65535").map(|all| all.len()), Ok(65_536));
    }

    #[test]
    fn what_is_no_port_is_refused_with_its_cause() {
        for (text, want) in [
            ("", "invalid port: \"\": no port specified"),
            ("80/x", "invalid port: \"80/x\": invalid proto: x"),
            ("65536", "invalid containerPort: 65536"),
            ("90-80", "invalid containerPort: 90-80"),
            ("http", "invalid containerPort: http"),
            ("x:1:2", "invalid IP address: x"),
            ("a:80", "invalid hostPort: a"),
            ("1-2:1-3", "invalid ranges specified for container and host Ports: 1-3 and 1-2"),
        ] {
            assert_eq!(ports(text).expect_err("an error").to_string(), want);
        }
    }
}
