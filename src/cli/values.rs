//! Values of flags, checked while the command line is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Where a server listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BindAddress {
    /// Nowhere: the server is turned off.
    Off,
    /// One address.
    At(SocketAddr),
    /// Every address of the machine, IPv4 and where there is IPv6 that too.
    Any(u16),
}

impl BindAddress {
    /// The addresses to try in turn; the first that can be bound is used.
    pub fn candidates(self) -> Vec<SocketAddr> {
        match self {
            Self::Off => Vec::new(),
            Self::At(address) => vec![address],
            // Dual-stack first. A machine without IPv6 can't bind it.
            Self::Any(port) => {
                vec![
                    (IpAddr::from(Ipv6Addr::UNSPECIFIED), port).into(),
                    (IpAddr::from(Ipv4Addr::UNSPECIFIED), port).into(),
                ]
            }
        }
    }
}

/// Reads `:8080`, `127.0.0.1:8080`, `[::1]:8080`, or `0` for off.
pub(super) fn bind_address(text: &str) -> Result<BindAddress, String> {
    if text == "0" {
        return Ok(BindAddress::Off);
    }
    let parsed = match text.strip_prefix(':') {
        Some(port) => port.parse().map(BindAddress::Any).ok(),
        None => text.parse().map(BindAddress::At).ok(),
    };
    parsed
        .ok_or_else(|| "expected ':8080', '127.0.0.1:8080' or '[::1]:8080', or '0' to turn it off".to_owned())
}

/// Reads a network. Spaces around it are those of a list.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.trim().parse().map_err(|error| format!("{error}: expected a network, such as 10.0.0.5/32"))
}

/// Reads a namespace's name. Spaces around it are those of a list.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() <= 63 && !text.contains('.') && is_dns_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a namespace: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
            .to_owned())
    }
}

/// Reads an object's name.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit".to_owned())
    }
}

/// Whether the text is what Kubernetes calls a DNS subdomain name.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if alphanumeric(first) && alphanumeric(last))
            && bytes.iter().all(|&c| alphanumeric(c) || c == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_addresses_are_those_of_controller_runtime() {
        assert_eq!(bind_address("0"), Ok(BindAddress::Off));
        assert_eq!(bind_address(":8080"), Ok(BindAddress::Any(8080)));
        assert_eq!(bind_address("127.0.0.1:1"), Ok(BindAddress::At(SocketAddr::from(([127, 0, 0, 1], 1)))));
        assert!(matches!(bind_address("[::1]:1"), Ok(BindAddress::At(address)) if address.is_ipv6()));
        for bad in ["", "8080", ":", ":70000", "localhost:1", "::1:80", "off"] {
            assert!(bind_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        for good in ["a", "a-1", "0a", "a.b-c.d"] {
            assert!(object_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "a b", &"a".repeat(254)] {
            assert!(object_name(bad).is_err(), "{bad:?}");
        }
        assert!(namespace("team-a").is_ok());
        for bad in ["team.a", "", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad:?}");
        }
    }
}
