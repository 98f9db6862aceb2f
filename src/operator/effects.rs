//! The effects of the machine: each is one future that ends in one result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use jiff::Timestamp;

use crate::kubernetes::{self, Clients, Events, Fence, secrets};
use crate::machine::{
    Answer, CallId, CredentialRead, Epoch, Event, GatewayKey, GatewayView, Input, NoAnswer, PageSerial,
    PlanId, Reached, ReadSerial, RunKey, SecretVersion, Target, WriteBody, WriteResult, WriteSerial,
};
use crate::telemetry::Metrics;
use crate::testinium::{self, ConnectError, Connection, Network};

/// The means by which effects are carried out. There is one of it for the whole process.
pub(super) struct Effects {
    pub(super) clients: Clients,
    pub(super) network: Arc<Network>,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    /// The Lease's fence is asked before every call and every write.
    pub(super) fence: Fence,
    /// Whether the annotation that names who asks is believed.
    pub(super) trust_requested_by: bool,
}

/// The result of an effect.
pub(super) enum Done {
    Input(Input),
    /// The connection is kept before the machine hears of the reading that has brought it.
    Connected {
        gateway: GatewayKey,
        epoch: Epoch,
        connection: Box<Connection>,
        read: CredentialRead,
    },
}

// === impl Effects ===

impl Effects {
    /// Asks a gateway to stop plans.
    pub(super) async fn post(
        self: Arc<Self>,
        call: CallId,
        connection: Option<Arc<Connection>>,
        plans: Box<[PlanId]>,
        last_on_connection: bool,
    ) -> Done {
        while_leading(&self.fence).await;
        let started = Instant::now();
        let answer = match connection {
            Some(connection) => testinium::post_stop(&connection, &plans, last_on_connection).await,
            // The machine names no reading but the one that has brought it a credential, so this is never reached; a
            // plan that waits for the next call is no harm.
            None => Answer::Lost(NoAnswer::Connect),
        };
        self.metrics.call_ended(&answer, started.elapsed());
        Done::Input(Input::Answered(call, answer))
    }

    /// Writes to the Kubernetes API.
    pub(super) async fn write(self: Arc<Self>, serial: WriteSerial, to: Target, body: WriteBody) -> Done {
        while_leading(&self.fence).await;
        let result = kubernetes::write(&self.clients.requests, &to, &body).await;
        self.metrics.status_written(result);
        if let WriteResult::Done(_) = result {
            tracing::debug!(object = %to.key, "wrote");
        }
        Done::Input(Input::Wrote(serial, result))
    }

    /// Reads a gateway's Secrets and prepares its connection.
    pub(super) async fn read_credential(
        self: Arc<Self>,
        gateway: Arc<GatewayView>,
        epoch: Epoch,
        known_bad: Option<SecretVersion>,
        earlier: Option<Arc<Connection>>,
    ) -> Done {
        let key = gateway.key.clone();
        match self.connect(&gateway, known_bad, earlier.as_deref()).await {
            Ok((connection, read)) => {
                Done::Connected { gateway: key, epoch, connection: Box::new(connection), read }
            }
            Err(read) => Done::Input(Input::Credential(key, epoch, read)),
        }
    }

    /// Opens a connection to a gateway, and closes it without a request.
    pub(super) async fn try_connection(
        self: Arc<Self>,
        gateway: GatewayKey,
        number: u32,
        connection: Option<Arc<Connection>>,
    ) -> Done {
        let reached = match connection {
            Some(connection) => testinium::try_connection(&connection).await,
            None => Reached::NotKnown,
        };
        Done::Input(Input::ConnectionTried(gateway, number, reached))
    }

    /// Reads one run.
    pub(super) async fn read_run(self: Arc<Self>, key: RunKey, serial: ReadSerial) -> Done {
        let read = kubernetes::read_run(&self.clients.requests, &key).await;
        Done::Input(Input::Read(key, serial, read))
    }

    /// Lists a page of runs.
    pub(super) async fn list_runs(
        self: Arc<Self>,
        serial: PageSerial,
        namespace: Arc<str>,
        selector: String,
        next: Option<String>,
    ) -> Done {
        let page =
            kubernetes::list_runs(&self.clients.requests, &namespace, &selector, next.as_deref()).await;
        Done::Input(Input::RunsListed(serial, page))
    }

    /// Hands in an event, which is written when there is time.
    pub(super) fn tell(&self, event: Event) {
        self.events.tell(event, Timestamp::now());
    }

    async fn connect(
        &self,
        gateway: &GatewayView,
        known_bad: Option<SecretVersion>,
        earlier: Option<&Connection>,
    ) -> Result<(Connection, CredentialRead), CredentialRead> {
        let (data, version) = secrets::read(&self.clients.requests, gateway).await?;
        if known_bad.as_ref() == Some(&version) {
            return Err(CredentialRead::Unchanged);
        }
        match testinium::connect(gateway, data, earlier, &self.network).await {
            Ok((connection, good_for)) => Ok((connection, CredentialRead::Have { version, good_for })),
            Err(ConnectError::Invalid(why)) => Err(CredentialRead::Invalid(why)),
            Err(ConnectError::Refused(why)) => Err(CredentialRead::Refused { version, why }),
            Err(ConnectError::Failed { why, retry_after }) => {
                Err(CredentialRead::Failed { why, retry_after })
            }
        }
    }
}

/// Does an effect. A panic in it is a bug that costs this effect alone: it ends as `otherwise`, as if its answer were
/// lost, and what it leaves behind is dropped with it.
pub(super) async fn contained(
    effect: impl Future<Output = Done>,
    metrics: &Metrics,
    otherwise: Input,
) -> Done {
    AssertUnwindSafe(effect).catch_unwind().await.unwrap_or_else(|_| {
        metrics.panic_contained();
        Done::Input(otherwise)
    })
}

/// Goes on only while the Lease is held: otherwise the task waits until it ends with the term.
async fn while_leading(fence: &Fence) {
    if !fence.holds() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_call_is_a_lost_answer_and_is_counted() {
        let metrics = Metrics::default();
        let lost = || Input::Answered(CallId(7), Answer::Lost(NoAnswer::Broken));
        let counted = |count: u32| {
            let page = metrics.encode().expect("metrics can be encoded");
            assert!(page.contains(&format!("\ntestinium_panics_contained_total {count}\n")), "{page}");
        };
        let call = async {
            tokio::task::yield_now().await;
            panic!("of the test")
        };
        let Done::Input(Input::Answered(CallId(7), Answer::Lost(NoAnswer::Broken))) =
            contained(call, &metrics, lost()).await
        else {
            panic!("not the call's own answer")
        };
        counted(1);
        let Done::Input(Input::Wake) = contained(async { Done::Input(Input::Wake) }, &metrics, lost()).await
        else {
            panic!("what went well is changed")
        };
        counted(1);
    }
}
