//! Reads `WWW-Authenticate`: how a registry says where its tokens come from.
//!
//! The format is RFC 9110, section 11.6.1. Knows nothing of tokens themselves.

/// One way to authenticate that a server offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    /// Names in lower case, in the order written.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header, in order. What is not understood is passed over: a server that says something strange
/// and something known can still be answered.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            match rest.chars().next() {
                None => return found,
                Some(strange) => rest = &rest[strange.len_utf8()..],
            }
            continue;
        }
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        match (value, found.last_mut()) {
            // `name=value`, but not the `=` that pads a token68, which nothing or another `=` follows.
            (Some(value), Some(challenge)) if !value.is_empty() && !value.starts_with(['=', ',']) => {
                let (value, after) = take_value(value);
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (None, _) => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                rest = after;
            }
            (Some(value), _) => rest = value,
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c)
}

/// Takes a quoted string or a token; the quoted one may hold commas and escaped characters.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(header: &str) -> Vec<String> {
        let one = |challenge: &Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", challenge.scheme, parameters.join(" | "))
        };
        parse(header).iter().map(one).collect()
    }

    #[test]
    fn the_challenges_of_real_registries_are_read() {
        assert_eq!(
            shown(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/node:pull""#
            ),
            [
                "bearer realm=https://auth.docker.io/token | service=registry.docker.io | scope=repository:library/node:pull"
            ]
        );
        assert_eq!(
            shown(r#"bearer scope="repository:a:pull,push" , Service = x,error=invalid_token"#),
            ["bearer scope=repository:a:pull,push | service=x | error=invalid_token"]
        );
        assert_eq!(shown(r#"Basic realm="a \"b\" c""#), [r#"basic realm=a "b" c"#]);
        assert_eq!(
            shown(r#"Basic realm=x, Bearer realm="y", scope="" "#),
            ["basic realm=x", "bearer realm=y | scope="]
        );
        assert_eq!(shown("Negotiate, Basic realm=x"), ["negotiate ", "basic realm=x"]);
    }

    #[test]
    fn strange_challenges_do_not_hide_known_ones() {
        assert_eq!(shown("Negotiate YWJj==, Basic realm=x").last().unwrap(), "basic realm=x");
        assert_eq!(shown(r#"{}[] Basic realm="unclosed"#), ["basic realm=unclosed"]);
        assert_eq!(shown(r#"realm="no scheme", Basic realm=y"#).last().unwrap(), "basic realm=y");
        assert!(shown("").is_empty() && shown(",,,").is_empty() && shown("===").is_empty());
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[a-z =\",\\\\{ä]{0,40}") {
            parse(&header);
        }
    }
}
