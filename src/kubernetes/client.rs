//! The clients that everything else here talks through.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use kube::Config;
use kube::config::Kubeconfig;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Connections to the Kubernetes API.
///
/// There are two pools, because a pool can hold dead connections: status writes at the rate of an emergency must not
/// leave their dead ones to the watches and the Lease, whose few requests have to get through.
#[derive(Clone)]
pub struct Clients {
    /// For status writes, reads and events.
    pub requests: kube::Client,
    /// For lists, watches and the Lease.
    pub watches: kube::Client,
    /// The pod's namespace, or the kubeconfig's.
    pub namespace: String,
    host: Option<String>,
    port: u16,
}

/// The reason for which there are no clients.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "found no cluster to talk to: neither KUBECONFIG (or ~/.kube/config) nor the pod's ServiceAccount can be used"
    )]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("failed to set up the connection to the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
}

/// A connection that takes longer is one that nobody answers; the next try may reach another API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Looking up the API server's name is for a check only, and must not hold up the start.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Clients ===

impl Clients {
    /// Finds the cluster as every Kubernetes client does. Nothing is sent yet.
    pub async fn infer() -> Result<Self, ClientError> {
        let mut config = Config::infer().await.map_err(|error| ClientError::Config(Box::new(error)))?;
        // With a kubeconfig, kube would go through the proxy of the environment, which is there for gateways. In a pod it
        // does not, so it never does here. A proxy that the kubeconfig itself names is another matter, and NO_PROXY is
        // not about that one.
        config.proxy_url = Kubeconfig::read().ok().as_ref().and_then(named_proxy);
        Self::new(config).map_err(|error| ClientError::Client(Box::new(error)))
    }

    /// Clients for a cluster that is known.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The client's own retries would wait behind our back, up to 334 s, and for any Retry-After.
        config.default_retry = false;
        let url = &config.cluster_url;
        Ok(Self {
            namespace: config.default_namespace.clone(),
            host: url.host().map(|host| host.trim_matches(['[', ']']).to_owned()),
            port: url.port_u16().unwrap_or(443),
            requests: kube::Client::try_from(config.clone())?,
            watches: kube::Client::try_from(config)?,
        })
    }

    /// The API server's addresses, which no gateway may have. Looked up once, so that a name server that fails later
    /// changes nothing; what the environment of the pod says counts as well, since a kubeconfig may name another.
    pub async fn api_server_addresses(&self) -> Vec<IpAddr> {
        let mut addresses = BTreeSet::new();
        let in_cluster = std::env::var("KUBERNETES_SERVICE_HOST").ok();
        for host in self.host.iter().chain(&in_cluster) {
            match timeout(LOOKUP_TIMEOUT, lookup_host((host.as_str(), self.port))).await {
                Ok(Ok(found)) => addresses.extend(found.map(|address| address.ip())),
                Ok(Err(error)) => tracing::warn!(host, %error, "failed to look up the API server's address"),
                Err(_) => tracing::warn!(host, "failed to look up the API server's address in time"),
            }
        }
        addresses.into_iter().collect()
    }
}

/// The proxy that a kubeconfig names for the cluster of its current context.
fn named_proxy(kubeconfig: &Kubeconfig) -> Option<http::Uri> {
    let context =
        kubeconfig.contexts.iter().find(|other| Some(&other.name) == kubeconfig.current_context.as_ref());
    let cluster = &context?.context.as_ref()?.cluster;
    let cluster = kubeconfig.clusters.iter().find(|other| other.name == *cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_ref().filter(|url| !url.is_empty())?.parse().ok()
}

// A client's configuration may hold a token: nothing of it is shown.
impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients")
            .field("host", &self.host)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_api_servers_address_is_known_however_it_is_written() {
        let rows = [
            ("https://127.0.0.1:6443", "127.0.0.1"),
            ("https://[::1]:6443", "::1"),
            ("https://10.0.0.1", "10.0.0.1"),
        ];
        for (url, address) in rows {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let clients = Clients::new(Config::new(url.parse().expect("a url"))).expect("clients");
            let addresses = clients.api_server_addresses().await;
            assert!(addresses.contains(&address.parse().expect("an address")), "{url}: {addresses:?}");
        }
    }
}
