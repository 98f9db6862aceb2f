//! The two families of a name's addresses, IPv6 and IPv4, which are asked for apart.
//!
//! One question for both (AF_UNSPEC, as the standard library asks) ends with the slower of the two answers: a name
//! server or a firewall that drops questions for AAAA would hold up each connection to an IPv4 gateway for as long as
//! the system's resolver tries, 10 s and more. So the answer that comes first is taken, under two conditions:
//!
//! - It has addresses, and this machine has a route to one of them. In a cluster that has IPv4 alone, the AAAA of a
//!   gateway that has both is no use however early it comes.
//! - The other answer gets a moment more, since name servers that work give both at nearly the same time. So a gateway
//!   with both families keeps both: the connection falls back on the other, and the guard sees all addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dns_lookup::{AddrFamily, AddrInfoHints, SockType, getaddrinfo};

/// The time that the other answer gets once one can be taken: the resolution delay of RFC 8305.
pub const MOMENT: Duration = Duration::from_millis(50);

/// A family, in the order in which addresses are tried: as the system's resolver orders them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    V6,
    V4,
}

/// The addresses of one family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    pub all: Vec<IpAddr>,
    /// Whether this machine has a route to one of them.
    pub is_routed: bool,
}

/// The answer to a question for one family. An error's text, since everybody who waits gets it.
pub type Answer = Result<Arc<Addresses>, String>;

/// The answers so far.
#[derive(Debug, Default)]
pub struct Answers {
    pub v6: Option<Answer>,
    pub v4: Option<Answer>,
}

/// What is done with the answers so far.
#[derive(Debug, Eq, PartialEq)]
pub enum Choice {
    Take(Vec<IpAddr>),
    /// Wait for the other answer, and take these addresses if it does not come: a moment long if they are good, else as
    /// long as anybody waits.
    Wait {
        a_moment: bool,
        meanwhile: Vec<IpAddr>,
    },
    Fail(String),
}

// === impl Answers ===

impl Answers {
    pub fn choose(&self) -> Choice {
        match (&self.v6, &self.v4) {
            (None, None) | (Some(Err(_)), None) | (None, Some(Err(_))) => {
                Choice::Wait { a_moment: false, meanwhile: Vec::new() }
            }
            (Some(Ok(one)), None) | (None, Some(Ok(one))) => {
                Choice::Wait { a_moment: one.is_routed && !one.all.is_empty(), meanwhile: one.all.clone() }
            }
            (Some(Ok(one)), Some(Err(_))) | (Some(Err(_)), Some(Ok(one))) => Choice::Take(one.all.clone()),
            (Some(Ok(v6)), Some(Ok(v4))) => {
                let (first, second) = if v4.is_routed && !v6.is_routed { (v4, v6) } else { (v6, v4) };
                Choice::Take(first.all.iter().chain(&second.all).copied().collect())
            }
            (Some(Err(v6)), Some(Err(v4))) if v6 == v4 => Choice::Fail(v4.clone()),
            (Some(Err(v6)), Some(Err(v4))) => Choice::Fail(format!("IPv4: {v4}; IPv6: {v6}")),
        }
    }
}

/// Asks the system for the addresses of one family, and whether it has a route to them. It may take a minute.
pub fn ask(name: &str, family: Family) -> io::Result<Addresses> {
    let address = match family {
        Family::V6 => AddrFamily::Inet6,
        Family::V4 => AddrFamily::Inet,
    };
    // Without a type, each address would come once for each.
    let hints = AddrInfoHints {
        address: address.into(),
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints))?;
    let all = found.map(|found| Ok(found?.sockaddr.ip())).collect::<io::Result<Vec<_>>>()?;
    let is_routed = all.iter().any(|address| has_route(*address));
    Ok(Addresses { all, is_routed })
}

/// Whether the system would know where to send a packet. None is sent: a UDP socket is connected by a look at the
/// routes.
fn has_route(address: IpAddr) -> bool {
    const ANY_PORT: u16 = 9;
    let own: IpAddr = match address {
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((own, 0)).and_then(|socket| socket.connect((address, ANY_PORT))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V6: &str = "2001:db8::1";
    const V4: &str = "192.0.2.1";

    /// What a row says: nothing yet, an error, or an address with a route or without one.
    fn answer(row: &str) -> Option<Answer> {
        let with = |addresses: &[&str], is_routed| {
            let all = addresses.iter().map(|address| address.parse().expect("rows hold addresses")).collect();
            Some(Ok(Arc::new(Addresses { all, is_routed })))
        };
        match row.split_whitespace().collect::<Vec<_>>()[..] {
            [] => None,
            ["none"] => with(&[], false),
            [address] => with(&[address], true),
            [address, "unrouted"] => with(&[address], false),
            ["error", why] => Some(Err(why.to_owned())),
            _ => panic!("{row}"),
        }
    }

    #[test]
    fn the_first_good_answer_is_taken_and_the_other_gets_a_moment() {
        let take = |addresses: &[&str]| Choice::Take(parsed(addresses));
        let wait = |a_moment, addresses: &[&str]| Choice::Wait { a_moment, meanwhile: parsed(addresses) };
        let fail = |why: &str| Choice::Fail(why.to_owned());
        for (v6, v4, expected) in [
            // One is silent.
            ("", "", wait(false, &[])),
            ("", V4, wait(true, &[V4])),
            (V6, "", wait(true, &[V6])),
            // An answer that is no use is not taken while another may come.
            ("none", "", wait(false, &[])),
            ("", "none", wait(false, &[])),
            ("error refused", "", wait(false, &[])),
            ("", "error refused", wait(false, &[])),
            ("2001:db8::1 unrouted", "", wait(false, &[V6])),
            ("", "192.0.2.1 unrouted", wait(false, &[V4])),
            // Both have answered.
            (V6, V4, take(&[V6, V4])),
            ("2001:db8::1 unrouted", V4, take(&[V4, V6])),
            (V6, "192.0.2.1 unrouted", take(&[V6, V4])),
            ("2001:db8::1 unrouted", "192.0.2.1 unrouted", take(&[V6, V4])),
            ("none", V4, take(&[V4])),
            (V6, "none", take(&[V6])),
            ("error refused", V4, take(&[V4])),
            (V6, "error refused", take(&[V6])),
            ("2001:db8::1 unrouted", "error refused", take(&[V6])),
            ("none", "none", take(&[])),
            ("error refused", "error refused", fail("refused")),
            ("error refused", "error unknown", fail("IPv4: unknown; IPv6: refused")),
        ] {
            let answers = Answers { v6: answer(v6), v4: answer(v4) };
            assert_eq!(answers.choose(), expected, "{v6:?}, {v4:?}");
        }
    }

    fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().expect("rows hold addresses")).collect()
    }

    #[test]
    fn each_question_is_for_one_family() {
        let found = ask("localhost", Family::V4).expect("/etc/hosts has it");
        assert_eq!(found, Addresses { all: parsed(&["127.0.0.1"]), is_routed: true });
        // Addresses take the same way, each in its own family alone.
        let found = ask("::1", Family::V6).expect("it is an address");
        assert_eq!(found.all, parsed(&["::1"]));
        assert!(ask("::1", Family::V4).is_err());
        assert!(ask("127.0.0.1", Family::V6).is_err());
        for family in [Family::V6, Family::V4] {
            assert!(ask("no-such-host.invalid", family).is_err(), "{family:?}");
        }
    }
}
