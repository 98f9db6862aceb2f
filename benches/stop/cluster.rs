//! What a stop costs the cluster: the processor time of its API server and of its datastore, and the bytes of the objects.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api;
use crate::failure::Failure;
use crate::process;
use crate::report::Report;
use crate::stage::{Field, Stage, name};
use crate::units::{Unit, milliseconds};

/// The time that the API server and the datastore have spent on a processor so far.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    api_server: Duration,
    datastore: Duration,
}

/// Samples of what stops cost the cluster.
#[derive(Debug, Default)]
pub struct Samples {
    pub api_server: Vec<f64>,
    datastore: Vec<f64>,
    object: Vec<f64>,
    managed_fields: Vec<f64>,
    status: Vec<f64>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    status: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    managed_fields: &'a RawValue,
}

// === impl Work ===

impl Work {
    pub fn so_far(stage: &Stage) -> Result<Self, Failure> {
        let [api_server, datastore] = stage.plane.pids();
        Ok(Self { api_server: process::cpu(api_server)?, datastore: process::cpu(datastore)? })
    }

    /// The API server's milliseconds since then.
    pub fn api_server_since(self, stage: &Stage) -> Result<f64, Failure> {
        Ok(milliseconds(Self::so_far(stage)?.api_server.saturating_sub(self.api_server)))
    }
}

// === impl Samples ===

impl Samples {
    /// Notes the work since `before`, in which so many runs were stopped, and the size of one of them.
    pub async fn note(
        &mut self,
        stage: &Stage,
        field: &Field,
        runs: usize,
        before: Work,
    ) -> Result<(), Failure> {
        let after = Work::so_far(stage)?;
        let a_stop = |now: Duration, then: Duration| milliseconds(now.saturating_sub(then)) / runs as f64;
        self.api_server.push(a_stop(after.api_server, before.api_server));
        self.datastore.push(a_stop(after.datastore, before.datastore));
        let object = api::get(&stage.client, &format!("{}/{}", api::runs(&field.namespace), name(0))).await?;
        let parts: Object<'_> = serde_json::from_slice(&object)?;
        self.object.push(object.len() as f64);
        self.managed_fields.push(parts.metadata.managed_fields.get().len() as f64);
        self.status.push(parts.status.get().len() as f64);
        Ok(())
    }

    /// Adds the figures, each beside the same of a lean status; one also beside the `same` status, written by a floor.
    pub fn report(self, same: &Self, lean: Self, report: &mut Report, runs: usize) {
        let mut add = |what, unit, samples| report.add("burst", what, unit, Some(runs), samples);
        let api_server = self.api_server;
        add(
            "API server, CPU a stop, beside the same status",
            Unit::Milliseconds,
            (api_server.clone(), same.api_server.clone()),
        );
        add("API server, CPU a stop", Unit::Milliseconds, (api_server, lean.api_server));
        add("datastore, CPU a stop", Unit::Milliseconds, (self.datastore, lean.datastore));
        add("stopped run", Unit::Bytes, (self.object, lean.object));
        add("its managedFields", Unit::Bytes, (self.managed_fields, lean.managed_fields));
        add("its status", Unit::Bytes, (self.status, lean.status));
    }
}
