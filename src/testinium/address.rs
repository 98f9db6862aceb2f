//! The addresses that gateways must not have.
//!
//! A person who may edit a gateway names a host, and the operator sends a request there from inside the cluster. So
//! loopback (the operator's own pod), link-local addresses (the cloud's metadata service) and the API server are
//! refused, unless a flag allows them. Names are checked after they are resolved, at the very lookup that the
//! connection uses: a check before it could be told another address. Addresses within a URL are never looked up, so
//! they are checked before each request.
//!
//! The API server is refused whatever else a flag allows: a network that is allowed for the gateways in it most often
//! has the API server in it as well. Only a flag that names that one address allows it. An API server on loopback is
//! one of a developer's machine, where it has that address in common with everything.
//!
//! A proxy (HTTPS_PROXY) resolves the gateway's name itself, so behind one only addresses in URLs are checked here; the
//! proxy has to say which names may be reached. The proxy itself may be anywhere, loopback included: a person who sets
//! the operator's environment may also set its flags. A lookup does not tell the proxy from a gateway that names the
//! same host, such as a localhost that NO_PROXY excepts: so a gateway of that name is looked up before, for a check.

use std::env;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::lookup::Lookups;

/// The rule that says which addresses are refused.
#[derive(Debug, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
    /// Of the cluster's API server, as far as they are known so far.
    api_server: RwLock<Vec<IpAddr>>,
    /// Host names of the proxies in the environment.
    proxies: Vec<String>,
    lookups: Arc<Lookups>,
}

/// The reason for which a URL is not called.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    #[error(transparent)]
    Refused(#[from] AddressRefused),
    #[error("failed to look up the host of a gateway that is the proxy's as well")]
    Unknown(#[source] io::Error),
}

/// The error for an address, or a name all of whose addresses, gateways must not have.
#[derive(Debug)]
pub struct AddressRefused {
    host: String,
    address: IpAddr,
}

/// A resolver that leaves out the addresses that the guard refuses.
#[derive(Clone, Debug)]
pub struct Resolver(pub Arc<Guard>);

// === impl Guard ===

impl Guard {
    /// A guard that refuses the API server's addresses beside the general ones, but no address in `allowed`.
    pub fn new(allowed: Vec<IpNet>, api_server: Vec<IpAddr>) -> Self {
        let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]
            .iter()
            .flat_map(|name| [env::var(name), env::var(name.to_ascii_lowercase())])
            .filter_map(|value| proxy_host(&value.ok()?))
            .collect();
        Self { allowed, api_server: RwLock::new(api_server), proxies, lookups: Arc::default() }
    }

    /// The API server's addresses are these from now on.
    pub fn know_api_server(&self, addresses: Vec<IpAddr>) {
        *self.api_server.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Whether gateways must not have this address, in whichever form it is written.
    pub fn refuses(&self, address: IpAddr) -> bool {
        let api_server = self.api_server.read().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = |form: &IpAddr| self.allowed.iter().any(|net| net.contains(form));
        let is_named = |form: &IpAddr| self.allowed.contains(&IpNet::from(*form));
        let forms = forms(address);
        let may_be = |form: &IpAddr| {
            if api_server.contains(form) && !form.is_loopback() {
                is_named(form) || is_named(&address)
            } else if api_server.contains(form) || is_inside(*form) {
                is_allowed(form) || is_allowed(&address)
            } else {
                true
            }
        };
        !forms.iter().all(may_be)
    }

    /// Checks a URL whose host is an address, which is connected to without a lookup, or the name of a proxy, at whose
    /// lookup everything is permitted.
    pub async fn check(&self, url: &Url) -> Result<(), NotCalled> {
        let (host, found) = match url.host() {
            Some(Host::Ipv4(address)) => (address.to_string(), vec![IpAddr::from(address)]),
            Some(Host::Ipv6(address)) => (address.to_string(), vec![IpAddr::from(address)]),
            Some(Host::Domain(name)) if self.is_proxy(name) => {
                let found = self.lookups.addresses(name).await.map_err(NotCalled::Unknown)?;
                (name.to_owned(), found.iter().map(SocketAddr::ip).collect())
            }
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        match found.into_iter().find(|address| self.refuses(*address)) {
            Some(address) => Err(AddressRefused { host, address }.into()),
            None => Ok(()),
        }
    }

    fn is_proxy(&self, host: &str) -> bool {
        self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(host))
    }

    fn permit(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, AddressRefused> {
        if self.is_proxy(host) {
            return Ok(found);
        }
        let (refused, permitted): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| self.refuses(found.ip()));
        match refused.first() {
            Some(refused) if permitted.is_empty() => {
                Err(AddressRefused { host: host.to_owned(), address: refused.ip() })
            }
            _ => Ok(permitted),
        }
    }
}

fn proxy_host(value: &str) -> Option<String> {
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
    Some(url.ok()?.host_str()?.to_owned())
}

// === impl Resolver ===

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = guard.lookups.addresses(name.as_str()).await?;
            let permitted = guard.permit(name.as_str(), found)?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

// === impl AddressRefused ===

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        write!(
            f,
            "refused to call {host} at {address}: loopback, link-local and the API server's addresses need \
             --allow-gateway-cidr"
        )
    }
}

impl std::error::Error for AddressRefused {}

/// Metadata services that clouds keep outside the link-local range: Alibaba, Oracle, Azure; Google, Scaleway.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)];

/// Whether an address belongs to the inside of a machine, a link or a cloud, or to no single host.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                // Linux connects to itself for 0.0.0.0; the rest of 0.0.0.0/8 belongs to nobody.
                || v4.octets()[0] == 0
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || METADATA_V6.contains(&v6)
                // EC2 has its metadata, its time, its name server and the credentials of pods there.
                || v6.segments()[..2] == [0xfd00, 0xec2]
        }
    }
}

/// The address, and each IPv4 address that may be reached by it.
fn forms(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else { return vec![address] };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::from([a, b, c, d])
    };
    let mut forms = vec![address];
    match [a, b, c, d, e, f] {
        // :: and ::1 are addresses of IPv6 alone.
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => {}
        // These are compatible, mapped, and translated addresses (RFC 2765).
        [0, 0, 0, 0, 0, 0] | [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => forms.push(v4(g, h)),
        // This is NAT64: the well-known prefix, and the local one (RFC 8215), of which a site takes 96 or 48 bits.
        [0x64, 0xff9b, 0, 0, 0, 0] => forms.push(v4(g, h)),
        [0x64, 0xff9b, 1, ..] if (g, h) == (0, 0) => forms.push(v4(d, e << 8 | f >> 8)),
        [0x64, 0xff9b, 1, ..] => forms.push(v4(g, h)),
        // This is 6to4.
        [0x2002, ..] => forms.push(v4(b, c)),
        // This is Teredo: the server, and the client with its bits turned over.
        [0x2001, 0, ..] => forms.extend([v4(c, d), v4(!g, !h)]),
        _ => {}
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let allowed = allowed.iter().map(|net| net.parse().expect("rows hold networks")).collect();
        let api_server = RwLock::new(vec![[10, 96, 0, 1].into()]);
        Guard {
            allowed,
            api_server,
            proxies: vec!["proxy.corp".into(), "localhost".into()],
            lookups: Arc::default(),
        }
    }

    #[test]
    fn addresses_of_the_inside_are_refused_in_every_form() {
        for (address, refused) in [
            ("10.0.0.1", false),
            ("192.168.1.1", false),
            ("172.16.0.1", false),
            ("100.64.0.1", false),
            ("93.184.216.34", false),
            ("127.0.0.1", true),
            ("127.255.0.3", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("10.96.0.1", true),
            ("10.96.0.2", false),
            ("2606:2800:220:1::1", false),
            ("fd12:3456::1", false),
            ("::", true),
            ("::1", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("ff02::1", true),
            ("fd00:ec2::254", true),
            ("fd00:ec2::23", true),
            ("fd00:ec2:ffff::1", true),
            ("fd00:ec3::1", false),
            ("fd20:ce::254", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.96.0.1", true),
            ("::ffff:10.0.0.1", false),
            ("::127.0.0.1", true),
            ("::ffff:0:169.254.169.254", true),
            ("64:ff9b::169.254.169.254", true),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b:1::127.0.0.1", true),
            ("64:ff9b:1::10.0.0.1", false),
            ("64:ff9b:1:a9fe:00a9:fe00::", true),
            ("2002:7f00:1::1", true),
            ("2002:a9fe:a9fe::", true),
            ("2002:a00:1::1", false),
            ("2001:0:7f00:1::", true),
            ("2001:0:a00:1:0:0:80ff:fffe", true),
        ] {
            let parsed = address.parse().expect("rows hold addresses");
            assert_eq!(guard(&[]).refuses(parsed), refused, "{address}");
        }
    }

    #[test]
    fn a_flag_allows_them() {
        let guard = guard(&["127.0.0.0/8", "fe80::/10", "10.96.0.1/32"]);
        for (address, refused) in [
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("10.96.0.1", false),
            ("::1", true),
            ("169.254.169.254", true),
        ] {
            assert_eq!(guard.refuses(address.parse().expect("rows hold addresses")), refused, "{address}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_leaves_the_api_server_refused() {
        let guard = guard(&["10.0.0.0/8", "64:ff9b::/96", "::/0", "127.0.0.0/8"]);
        let refuses = |address: &str| guard.refuses(address.parse().expect("rows hold addresses"));
        for address in ["10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1"] {
            assert!(refuses(address), "{address}");
        }
        assert!(!refuses("10.96.0.2") && !refuses("fe80::1"));
        guard.know_api_server(vec![[10, 0, 0, 7].into(), [127, 0, 0, 1].into()]);
        assert!(refuses("10.0.0.7"));
        assert!(
            !refuses("10.96.0.1") && !refuses("127.0.0.1"),
            "on a developer's machine all is on loopback"
        );
    }

    #[tokio::test]
    async fn addresses_in_urls_are_checked_however_they_are_written() {
        for (url, refused) in [
            ("https://127.0.0.1/", true),
            ("https://2130706433/", true),
            ("https://0x7f.1/", true),
            ("https://0177.0.0.1:8443/x", true),
            ("https://[::1]/", true),
            ("https://[::ffff:7f00:1]/", true),
            ("https://169.254.169.254/latest", true),
            ("https://10.0.0.1/", false),
            ("https://gateway.example.com/", false),
            // The proxy's own name.
            ("https://localhost:8443/", true),
        ] {
            let parsed = Url::parse(url).expect("rows hold URLs");
            assert_eq!(guard(&[]).check(&parsed).await.is_err(), refused, "{url}");
        }
    }

    #[test]
    fn of_several_addresses_the_good_ones_stay() {
        let good = SocketAddr::from(([10, 0, 0, 1], 0));
        let bad = SocketAddr::from(([127, 0, 0, 1], 0));
        let guard = guard(&[]);
        assert_eq!(guard.permit("a", vec![bad, good]).expect("one is good"), [good]);
        assert_eq!(guard.permit("Proxy.corp", vec![bad]).expect("a proxy may be anywhere"), [bad]);
        let refused = guard.permit("a", vec![bad]).expect_err("none is good");
        assert!(refused.to_string().starts_with("refused to call a at 127.0.0.1"), "{refused}");
    }

    #[test]
    fn proxies_are_known_by_their_host() {
        for (value, host) in [
            ("http://proxy.corp:3128", Some("proxy.corp")),
            ("https://user:pass@proxy.corp/", Some("proxy.corp")),
            ("proxy.corp:3128", Some("proxy.corp")),
            ("", None),
        ] {
            assert_eq!(proxy_host(value).as_deref(), host, "{value}");
        }
    }

    #[tokio::test]
    async fn localhost_is_looked_up_and_refused() {
        let name = "localhost".parse().expect("a host name");
        let error = Resolver(Arc::new(Guard::new(Vec::new(), Vec::new())))
            .resolve(name)
            .await
            .err()
            .expect("localhost is loopback");
        assert!(error.is::<AddressRefused>(), "{error}");
    }
}
