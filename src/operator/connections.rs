//! The connections of a term: one for each gateway, kept under the epoch of the reading that brought it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::machine::{Epoch, GatewayKey};
use crate::testinium::Connection;

/// The connections of a term. A gateway has an entry from its first reading until its object is gone.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_gateway: HashMap<GatewayKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The latest reading that has begun. An earlier one that ends after it is of an earlier spec.
    reading: Epoch,
    /// The connection for the next call, and the reading that brought it.
    open: Option<(Epoch, Arc<Connection>)>,
}

// === impl Connections ===

impl Connections {
    /// A reading of a gateway's credential begins. Yields the connection so far: its login may still be good.
    pub(super) fn reading_began(&mut self, gateway: &GatewayKey, epoch: Epoch) -> Option<Arc<Connection>> {
        let entry = self.by_gateway.entry(gateway.clone()).or_insert(Entry { reading: epoch, open: None });
        entry.reading = epoch;
        entry.open.as_ref().map(|(_, connection)| connection.clone())
    }

    /// A reading has ended with a connection. It is dropped at once if the gateway is gone or is read anew meanwhile:
    /// the machine will never ask for it.
    pub(super) fn keep(&mut self, gateway: &GatewayKey, epoch: Epoch, connection: Connection) {
        if let Some(entry) = self.by_gateway.get_mut(gateway).filter(|entry| entry.reading == epoch) {
            // Calls under way hold their own copy of an earlier one.
            entry.open = Some((epoch, Arc::new(connection)));
        }
    }

    /// The connection that a reading has brought.
    pub(super) fn get(&self, gateway: &GatewayKey, credential: Epoch) -> Option<Arc<Connection>> {
        let (epoch, connection) = self.by_gateway.get(gateway)?.open.as_ref()?;
        (*epoch == credential).then(|| connection.clone())
    }

    /// A gateway is gone. Its token is dropped as soon as no call that carries it is under way.
    pub(super) fn disconnect(&mut self, gateway: &GatewayKey) {
        self.by_gateway.remove(gateway);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testinium::fixtures::{bearer, connected, view};

    async fn connection() -> Connection {
        connected(&view("http://gateway.example.com"), bearer("token")).await
    }

    #[tokio::test]
    async fn a_connection_is_kept_under_the_epoch_of_its_reading() {
        let (key, mut connections) = (GatewayKey::new("qa", "default"), Connections::default());
        assert!(connections.reading_began(&key, Epoch(1)).is_none());
        connections.keep(&key, Epoch(1), connection().await);
        assert!(connections.get(&key, Epoch(1)).is_some());
        assert!(connections.get(&key, Epoch(2)).is_none());

        assert!(connections.reading_began(&key, Epoch(2)).is_some(), "its login may still be good");
        assert!(connections.get(&key, Epoch(1)).is_some(), "calls go on meanwhile");
        connections.keep(&key, Epoch(2), connection().await);
        assert!(connections.get(&key, Epoch(1)).is_none() && connections.get(&key, Epoch(2)).is_some());
    }

    #[tokio::test]
    async fn a_reading_that_was_overtaken_leaves_nothing() {
        let (key, mut connections) = (GatewayKey::new("qa", "default"), Connections::default());
        connections.reading_began(&key, Epoch(1));
        connections.reading_began(&key, Epoch(2));
        connections.keep(&key, Epoch(2), connection().await);
        connections.keep(&key, Epoch(1), connection().await);
        assert!(connections.get(&key, Epoch(1)).is_none() && connections.get(&key, Epoch(2)).is_some());
    }

    #[tokio::test]
    async fn a_deleted_gateway_leaves_no_connection_and_no_reading_brings_one() {
        let (key, mut connections) = (GatewayKey::new("qa", "default"), Connections::default());
        connections.reading_began(&key, Epoch(1));
        connections.keep(&key, Epoch(1), connection().await);
        connections.reading_began(&key, Epoch(2));
        let in_call = connections.get(&key, Epoch(1)).expect("it is open");
        connections.disconnect(&key);
        assert_eq!(Arc::strong_count(&in_call), 1, "the call under way holds the last one");
        connections.keep(&key, Epoch(2), connection().await);
        assert!(connections.by_gateway.is_empty());

        // A gateway of the same name is made while the reading of the former one is still under way.
        connections.reading_began(&key, Epoch(3));
        connections.keep(&key, Epoch(2), connection().await);
        assert!(connections.get(&key, Epoch(2)).is_none());
    }
}
