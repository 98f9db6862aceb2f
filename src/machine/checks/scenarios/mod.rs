//! Scenarios: short histories by name, through the whole machine. Each is a way in which things can come in the wrong
//! order, late, twice or never, and says what must come of it.

mod answers;
mod basics;
mod cleanups;
mod crossings;
mod deadlines;
mod deletions;
mod edits;
mod gateways;
mod held_deletions;
mod looks;
mod moved_deadlines;
mod namespaces;
mod proofs;
mod requests;
mod restarts;
mod retries;
mod room;
mod scale;
mod search;
mod ttl;
mod words;
mod writes;

use crate::api::{GatewayRef, condition};
use crate::machine::Kind;
use crate::machine::checks::fixtures;
use crate::machine::checks::world::World;

fn message(world: &World, name: &str) -> String {
    let conditions = &world.run(name).status.conditions;
    let stopped = conditions.iter().find(|other| other.type_ == condition::STOPPED).expect("Stopped");
    stopped.message.clone()
}

fn suspend(world: &mut World, yes: bool) {
    world.edit_gateway("default", |gateway| gateway.spec.suspend = yes.then_some(true));
}

fn annotate(world: &mut World, value: Option<&str>) {
    world.edit("one", |run| run.stop_annotation = value.map(str::to_owned));
}

fn retry(world: &mut World, value: &str) {
    world.edit("one", |run| run.retry_annotation = Some(value.to_owned()));
}

fn move_to(world: &mut World, name: &str, gateway: &str) {
    world.edit(name, |run| run.spec.gateway_ref = Some(GatewayRef { name: Some(gateway.to_owned()) }));
}

/// Makes a second gateway in the namespace of the first.
fn put_other_gateway(world: &mut World) {
    world.server.put_gateway(fixtures::gateway_named("team", "other"));
    world.hear(Kind::Gateways);
}
