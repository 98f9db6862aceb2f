//! The addresses of the API server, which no gateway may have.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::GetParams;
use tokio::time::sleep;

use super::client::Clients;
use super::request::{self, NoReply, Reply};

/// The name and the namespace of the EndpointSlice in which API servers enter themselves.
const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";

/// A reading takes milliseconds; at the start nothing else is done before it has ended.
const LIMIT: Duration = Duration::from_secs(5);

/// How often the endpoints are read again: API servers come and go rarely, as nodes are replaced.
const PERIOD: Duration = Duration::from_secs(300);

/// How soon they are read again if there was no answer: what leads afterwards shall know them. A right that is missing
/// does not come so soon.
const RETRY: Duration = Duration::from_secs(5);

/// The addresses of the API server: those that its host name had at the start, and those of its endpoints.
#[derive(Debug)]
pub struct ApiServer {
    clients: Clients,
    resolved: Vec<IpAddr>,
    endpoints: Vec<IpAddr>,
    /// Why the endpoints are not known, if they are not.
    unknown: Option<String>,
    /// How soon they are read again.
    again: Duration,
}

// === impl ApiServer ===

impl ApiServer {
    /// Finds the addresses, as far as that goes in some seconds.
    pub async fn find(clients: &Clients) -> Self {
        let mut found = Self {
            clients: clients.clone(),
            resolved: Vec::new(),
            endpoints: Vec::new(),
            unknown: None,
            again: PERIOD,
        };
        // Neither needs the other, and the start waits for both.
        let (resolved, ()) = tokio::join!(clients.api_server_addresses(), found.read());
        found.resolved = resolved;
        found
    }

    /// All that are known.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let all: BTreeSet<_> = self.resolved.iter().chain(&self.endpoints).copied().collect();
        all.into_iter().collect()
    }

    /// Reads the endpoints every few minutes, and tells all addresses each time.
    pub async fn follow(mut self, tell: impl Fn(Vec<IpAddr>)) {
        loop {
            sleep(self.again).await;
            self.read().await;
            tell(self.addresses());
        }
    }

    /// Reads the endpoints. Those that were known stay so if that fails.
    async fn read(&mut self) {
        let path = EndpointSlice::url_path(&(), Some(NAMESPACE));
        let Ok(request) = kube::core::Request::new(path).get(NAME, &GetParams::default()) else { return };
        let answer = request::send(&self.clients.requests, request, LIMIT).await;
        self.again = if answer.is_ok() { PERIOD } else { RETRY };
        let unknown = match endpoints(answer) {
            Ok(endpoints) => {
                self.endpoints = endpoints;
                None
            }
            Err(why) => Some(why),
        };
        if let Some(why) = unknown.as_ref().filter(|_| self.unknown != unknown) {
            tracing::warn!(
                why,
                "failed to read the API server's endpoints: gateways are refused the address of its host alone"
            );
        }
        self.unknown = unknown;
    }
}

fn endpoints(answer: Result<Reply, NoReply>) -> Result<Vec<IpAddr>, String> {
    match answer {
        Ok(reply) if reply.is_success() => {
            addresses(&reply.body).ok_or_else(|| "the answer is no EndpointSlice".to_owned())
        }
        // A cluster need not have it: then the API server is reached in other ways.
        Ok(reply) if reply.status == 404 => Ok(Vec::new()),
        Ok(reply) => Err(reply.message()),
        Err(no_reply) => Err(no_reply.to_string()),
    }
}

fn addresses(body: &[u8]) -> Option<Vec<IpAddr>> {
    let slice: EndpointSlice = serde_json::from_slice(body).ok()?;
    let texts = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    Some(texts.filter_map(|text| text.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_all_endpoints() {
        let slice = r#"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "kubernetes"}, "ports": [{"name": "https", "port": 6443}],
            "endpoints": [{"addresses": ["10.0.0.5"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.6", "fd00::6"], "conditions": {"ready": false}}]}"#;
        let expected = ["10.0.0.5", "10.0.0.6", "fd00::6"].map(|text| text.parse().expect("an address"));
        assert_eq!(addresses(slice.as_bytes()), Some(expected.to_vec()));
        assert_eq!(addresses(b"<html>"), None);
    }
}
