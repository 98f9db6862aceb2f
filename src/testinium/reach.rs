//! Whether a gateway can be connected to: a connection is opened, and closed without a request.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::LazyLock;

use futures::future::select_ok;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Name, Resolve};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::{Host, Url};

use super::address::{AddressRefused, NotCalled, Resolver};
use super::connection::Connection;
use super::http::{CONNECT_TIMEOUT, find};
use crate::machine::{NoAnswer, Reached};

/// Tries under way at a time. Nobody waits for one, so thousands of gateways take turns.
static TRIES: Semaphore = Semaphore::const_new(16);

/// The proxies of the environment.
static PROXIES: LazyLock<Matcher> = LazyLock::new(Matcher::from_system);

/// Opens a connection to the host and port of the gateway, and closes it. Whether the gateway can be reached through a
/// proxy only a request to that tells.
pub async fn try_connection(connection: &Connection) -> Reached {
    let url = &connection.stop_url;
    let is_proxied = http::Uri::from_str(url.as_str()).is_ok_and(|uri| PROXIES.intercept(&uri).is_some());
    // Nobody closes the semaphore.
    let (false, Ok(_turn)) = (is_proxied, TRIES.acquire().await) else { return Reached::NotKnown };
    match timeout(CONNECT_TIMEOUT, open(connection, url)).await {
        Ok(Ok(())) => Reached::Opened,
        Ok(Err(why)) => Reached::NotOpened(why),
        Err(_) => Reached::NotOpened(NoAnswer::Connect),
    }
}

async fn open(connection: &Connection, url: &Url) -> Result<(), NoAnswer> {
    connection.guard.check(url).await.map_err(|error| match error {
        NotCalled::Refused(_) => NoAnswer::AddressRefused,
        NotCalled::Unknown(_) => NoAnswer::Dns,
    })?;
    let port = url.port_or_known_default().ok_or(NoAnswer::Connect)?;
    let addresses: Vec<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain(name)) => look_up(connection, name).await?,
        None => return Err(NoAnswer::Dns),
    };
    // One of them is enough, and the first may be of a network that this machine is not in.
    let tries =
        addresses.into_iter().map(|address| Box::pin(TcpStream::connect(SocketAddr::new(address, port))));
    select_ok(tries).await.map(drop).map_err(|_| NoAnswer::Connect)
}

/// The addresses of a host that gateways may have, at least one.
async fn look_up(connection: &Connection, host: &str) -> Result<Vec<IpAddr>, NoAnswer> {
    let name = Name::from_str(host).map_err(|_| NoAnswer::Dns)?;
    match Resolver(connection.guard.clone()).resolve(name).await {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) if find(&*error, |_: &AddressRefused| true) => Err(NoAnswer::AddressRefused),
        Err(_) => Err(NoAnswer::Dns),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::fixtures::{bearer, connected, view};
    use super::*;

    async fn reached(url: &str) -> Reached {
        try_connection(&connected(&view(url), bearer("token")).await).await
    }

    #[tokio::test]
    async fn a_server_that_listens_is_reached_without_a_request() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        assert_eq!(reached(&format!("http://{address}")).await, Reached::Opened);
        let (mut opened, _) = listener.accept().expect("it was opened");
        let mut sent = Vec::new();
        std::io::Read::read_to_end(&mut opened, &mut sent).expect("it was closed");
        assert!(sent.is_empty(), "nothing was sent: {sent:?}");
        let port = address.port();
        assert_eq!(reached(&format!("http://localhost:{port}")).await, Reached::Opened, "by its name");
        drop(listener);
        assert_eq!(reached(&format!("http://{address}")).await, Reached::NotOpened(NoAnswer::Connect));
    }

    #[tokio::test]
    async fn what_a_call_would_not_reach_is_not_reached() {
        for (url, why) in [
            ("http://no-such-host.invalid", NoAnswer::Dns),
            ("http://169.254.169.254", NoAnswer::AddressRefused),
        ] {
            assert_eq!(reached(url).await, Reached::NotOpened(why), "{url}");
        }
    }
}
