//! Lists of hosts: those that need no TLS (`insecure`) and those that no proxy serves (`NO_PROXY`).
//!
//! Knows nothing of what the lists are for, beyond the two ways in which a name may match.

use std::net::IpAddr;

/// How a name in a list covers hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// `example.com` is that host only.
    Exact,
    /// `example.com` covers its subdomains too, `.example.com` only them, `*` everything.
    Domains,
}

/// Whether `list` (host names, addresses, CIDR blocks; each but a block with an optional port) covers `host`.
///
/// `host` is without brackets and in lower case; `port` is the effective one.
pub(super) fn covers<'a>(list: impl IntoIterator<Item = &'a str>, names: Names, host: &str, port: u16) -> bool {
    let address = host.parse::<IpAddr>().ok();
    list.into_iter().map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if let Some((network, bits)) = entry.split_once('/') {
            return match (network.parse(), bits.parse(), address) {
                (Ok(network), Ok(bits), Some(address)) => within(address, network, bits),
                _ => false,
            };
        }
        let (name, wanted) = split_port(entry);
        let name = name.to_ascii_lowercase();
        if wanted.is_some_and(|wanted| wanted != port) {
            return false;
        }
        match (name.parse::<IpAddr>(), names) {
            (Ok(one), _) => address == Some(one),
            (Err(_), Names::Exact) => name == host,
            (Err(_), Names::Domains) => {
                let suffix = name.strip_prefix("*.").or(name.strip_prefix('.'));
                let (domain, itself) = (suffix.unwrap_or(&name), suffix.is_none());
                let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
                name == "*" || (itself && host == domain) || (below && address.is_none())
            }
        }
    })
}

/// Takes `host:port`, `[v6]:port`, `[v6]` and a bare IPv6 address apart.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => match port.parse() {
            Ok(port) => (host.trim_matches(['[', ']']), Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry.trim_matches(['[', ']']), None),
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    match width.checked_sub(bits) {
        None => false,
        Some(128) => true,
        Some(ignored) => address >> ignored == network >> ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insecure_host_is_that_host_only() {
        let list = ["reg.lan:5000", "plain.lan", "10.0.0.0/8", "fd00::1", "[fd00::2]:80"];
        let covered = |host, port| covers(list, Names::Exact, host, port);
        assert!(covered("reg.lan", 5000) && !covered("reg.lan", 443));
        assert!(covered("plain.lan", 1) && !covered("sub.plain.lan", 1));
        assert!(covered("10.9.8.7", 80) && !covered("11.0.0.1", 80));
        assert!(covered("fd00::1", 80) && covered("fd00::2", 80) && !covered("fd00::2", 81));
    }

    #[test]
    fn a_proxy_exception_covers_the_domains_below_it() {
        let covered = |entry, host| covers([entry], Names::Domains, host, 443);
        assert!(covered("corp.lan", "corp.lan") && covered("corp.lan", "a.b.corp.lan"));
        assert!(!covered("corp.lan", "notcorp.lan"));
        assert!(!covered(".corp.lan", "corp.lan") && covered(".corp.lan", "a.corp.lan"));
        assert!(covered("*.corp.lan", "a.corp.lan"));
        assert!(covered("*", "anything") && covered(" ghcr.io ", "ghcr.io") && !covered("", "ghcr.io"));
        assert!(covered("192.168.0.0/16", "192.168.3.4") && !covered("192.168.0.0/99", "192.168.3.4"));
        assert!(covered("0.0.0.0/0", "9.9.9.9") && covered("::/0", "fe80::1") && !covered("0.0.0.0/0", "fe80::1"));
        assert!(covered("ghcr.io:443", "ghcr.io") && !covered("ghcr.io:80", "ghcr.io"));
    }
}
