//! Connections as the operator keeps them: each made of one spec and one version of the Secret.

use std::sync::Arc;

use super::World;
use crate::machine::{CredentialRead, Epoch, GatewayView, Input, SecretVersion};

/// All that a call is made with beside its plans.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Connection {
    pub(in crate::machine) gateway: Arc<GatewayView>,
    pub(in crate::machine) secret: u32,
}

// === impl World ===

impl World {
    /// The Secret is read, and the connection kept that it makes.
    pub(super) fn read_secret(
        &mut self,
        gateway: Arc<GatewayView>,
        epoch: Epoch,
        known_bad: Option<SecretVersion>,
    ) -> Input {
        let read = self.fake_gateway.credential(known_bad);
        let key = gateway.key.clone();
        if matches!(read, CredentialRead::Have { .. }) {
            let in_use = self.machine.gateways.get(&key).map(|gateway| gateway.credential.epoch);
            self.connections.retain(|(other, kept), _| *other != key || in_use.is_some_and(|at| *kept >= at));
            self.connections
                .insert((key.clone(), epoch), Connection { gateway, secret: self.fake_gateway.secret });
        }
        Input::Credential(key, epoch, read)
    }
}
