//! The floors: what the API server and the network cost whoever does the job, however little it does beside.
//!
//! Run as a process of its own (this program with the argument `floor`), with the client, the TLS, the identity and the
//! number of threads of the operator. It decides nothing, batches nothing, remembers nothing, and survives nothing.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use testinium_operator::kubernetes::Clients;
use tokio::sync::Semaphore;

use crate::api::{self, CLIENTS, List, Metadata};
use crate::failure::Failure;
use crate::process;
use crate::watch::Watch;

/// The work of a floor.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Job {
    /// Watches; for every run that wants stopping it calls the gateway, if there is one, then writes the status.
    Answer,
    /// Lists, then writes the status of every run in the list.
    Write,
    /// Lists.
    List,
}

#[derive(Args, Debug)]
pub struct FloorArgs {
    pub job: Job,
    #[arg(long)]
    pub namespace: String,
    /// The gateway to send each stop to, one call a run.
    #[arg(long)]
    pub gateway: Option<String>,
    #[arg(long, default_value = "")]
    pub token: String,
    /// The status to write, as JSON.
    #[arg(long, default_value = "")]
    pub status: String,
}

/// How a floor tells the harness how far it is: one a line, followed by the microseconds it has been on a processor.
pub const READY: &str = "ready";
pub const DONE: &str = "done";

/// Does the job, then waits to be killed.
pub fn run(args: FloorArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clients = Clients::infer().await?;
        let floor = Arc::new(Floor { client: clients.requests, http: reqwest::Client::new(), args });
        match floor.args.job {
            Job::Answer => Err(floor.answer(&clients.watches).await?),
            Job::Write => floor.write().await,
            Job::List => floor.list().await.and_then(|_| tell(DONE)),
        }?;
        tokio::time::sleep(Duration::MAX).await;
        Ok(())
    })
}

struct Floor {
    client: kube::Client,
    http: reqwest::Client,
    args: FloorArgs,
}

/// The part of a run that a write needs.
struct Target {
    name: String,
    uid: String,
    version: String,
}

// === impl Floor ===

impl Floor {
    async fn answer(self: Arc<Self>, watches: &kube::Client) -> Result<Failure, Failure> {
        let watch = Watch::open(watches, &self.args.namespace).await?;
        tell(READY)?;
        let slots = Arc::new(Semaphore::new(CLIENTS));
        let ended = watch.follow(|run| {
            if run.wants_stopping() {
                let (floor, slots) = (self.clone(), slots.clone());
                let (plans, target) = (run.spec.plans, Target::of(&run.metadata));
                tokio::spawn(async move {
                    if let Err(why) = floor.stop(&plans, &target, &slots).await {
                        eprintln!("{why}");
                    }
                });
            }
        });
        Ok(ended.await)
    }

    async fn stop(&self, plans: &[i64], target: &Target, slots: &Semaphore) -> Result<(), Failure> {
        if let Some(gateway) = &self.args.gateway {
            let request = self.http.post(format!("{gateway}/stop/execution")).bearer_auth(&self.args.token);
            let request = request.header("content-type", "application/json");
            let response = request.body(format!(r#"{{"plans":{plans:?}}}"#)).send().await?;
            response.error_for_status()?.bytes().await?;
        }
        let _slot = slots.acquire().await?;
        self.put(target).await
    }

    async fn write(self: Arc<Self>) -> Result<(), Failure> {
        let targets = self.list().await?;
        tell(READY)?;
        let floor = self.clone();
        let (count, targets) = (targets.len(), Arc::new(targets));
        api::each(count, move |index| {
            let (floor, targets) = (floor.clone(), targets.clone());
            async move { floor.put(&targets[index]).await }
        })
        .await?;
        tell(DONE)
    }

    /// All runs in one answer, straight from the datastore.
    async fn list(&self) -> Result<Vec<Target>, Failure> {
        let list = api::get(&self.client, &api::runs(&self.args.namespace)).await?;
        let list: List<'_> = serde_json::from_slice(&list)?;
        Ok(list.items.iter().map(|run| Target::of(&run.metadata)).collect())
    }

    async fn put(&self, target: &Target) -> Result<(), Failure> {
        let Target { name, uid, version } = target;
        let of = Metadata { name, namespace: &self.args.namespace, uid, resource_version: version };
        api::put_status(&self.client, &of, &self.args.status).await
    }
}

impl Target {
    fn of(run: &Metadata<'_>) -> Self {
        Self { name: run.name.to_owned(), uid: run.uid.to_owned(), version: run.resource_version.to_owned() }
    }
}

fn tell(line: &str) -> Result<(), Failure> {
    let cpu = process::cpu(std::process::id())?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line} {}", cpu.as_micros())?;
    stdout.flush().map_err(Failure::from)
}
