//! The memory that records of runs take, and the runs for which there is no room: of these only the names are kept.
//!
//! A record may be of a thousand plans, and thousands of runs may wait for a gateway that is down. So the memory of all
//! records has a bound. Half of it is for whoever comes first; the other half is divided equally among the namespaces
//! that have records. A run that would take more than that waits as a name, and is read again when there is room.
//!
//! **R29.** A run for which there is no room loses nothing. It is set aside only if a list has just brought it, as if the
//! list had come later, or if its status tells of its request, as before a restart: then a reading finds all that
//! matters. A request that the watch brings is taken in whatever room there is, and its run is set aside only once
//! status tells of it; so a stop at a gateway that answers never waits for room. A gateway without a record gets one in,
//! so that runs which wait for another gateway of the namespace hold up none of its own.
//! Tests: `half_of_the_room_is_for_the_first_and_half_for_each_namespace`, `runs_without_room_wait_as_names_and_are_read_in_turn`,
//! `a_request_that_the_watch_brings_needs_no_room`, `a_request_that_was_told_outlasts_being_set_aside`; every fourth
//! simulated history has room for two records.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::fair_queue::FairQueue;
use crate::machine::ids::{GatewayKey, RunKey, Version};
use crate::machine::limits::{Limits, READ_AGAIN, ROOM_READS_MAX};
use crate::machine::list::Extent;
use crate::machine::runs::run::Run;
use crate::machine::time::Millis;
use crate::machine::timers::Timers;

/// The bytes of a record without its plans, and of each plan with its place in a queue. Measured by
/// `cargo bench --bench allocations -- waiting`, and rounded up.
const RECORD_BYTES: usize = 1_500;
const PLAN_BYTES: usize = 250;

/// The room that records take, in bytes.
#[derive(Clone, Debug)]
pub struct Room {
    /// The most that all of them may take.
    pub(in crate::machine) limit: usize,
    taken: usize,
    by_namespace: BTreeMap<Arc<str>, usize>,
    by_gateway: BTreeMap<GatewayKey, usize>,
}

/// The runs that wait for room.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    pub(in crate::machine) by_key: BTreeMap<Arc<RunKey>, Place>,
    /// Those that are not being read yet, in the order in which they came. Gateways take turns.
    queue: FairQueue<GatewayKey, (u64, Arc<RunKey>)>,
    /// Those whose reading has failed, by when they queue up again.
    resting: Timers<Arc<RunKey>>,
    serial: u64,
    reading: usize,
}

/// All that is known of a run that waits for room.
#[derive(Clone, Debug)]
pub struct Place {
    pub(in crate::machine) gateway: GatewayKey,
    pub(in crate::machine) bytes: usize,
    pub(in crate::machine) turn: Turn,
    /// The version that the watch has told.
    pub(in crate::machine) watched: Version,
    /// The list that last brought it.
    pub(in crate::machine) listed_in: u32,
}

/// When a run that waits for room is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// When there is room for it, in the order of these numbers.
    Queued(u64),
    /// It is being read.
    Read,
    /// Its reading has failed, and it queues up again at this moment.
    Rests(Millis),
}

/// The bytes that a record of so many plans takes.
pub fn bytes_of(plans: usize) -> usize {
    RECORD_BYTES + plans * PLAN_BYTES
}

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self {
            limit: Limits::default().runs_bytes,
            taken: 0,
            by_namespace: BTreeMap::new(),
            by_gateway: BTreeMap::new(),
        }
    }
}

impl Room {
    /// Room for records that take so many bytes.
    pub fn of(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether there is room for another record. A namespace without any always gets one in.
    pub fn has(&self, gateway: &GatewayKey, bytes: usize) -> bool {
        let Some(of_namespace) = self.by_namespace.get(&gateway.namespace) else { return true };
        let after = self.taken + bytes;
        let share = self.limit / 2 / self.by_namespace.len();
        let is_first = !self.by_gateway.contains_key(gateway);
        after <= self.limit && (after <= self.limit / 2 || of_namespace + bytes <= share || is_first)
    }

    pub fn take(&mut self, gateway: &GatewayKey, bytes: usize) {
        self.taken += bytes;
        *self.by_namespace.entry(gateway.namespace.clone()).or_default() += bytes;
        *self.by_gateway.entry(gateway.clone()).or_default() += bytes;
    }

    pub fn give_back(&mut self, gateway: &GatewayKey, bytes: usize) {
        self.taken = self.taken.saturating_sub(bytes);
        subtract(&mut self.by_namespace, &gateway.namespace, bytes);
        subtract(&mut self.by_gateway, gateway, bytes);
    }

    /// Takes the room of a record.
    pub fn hold(&mut self, run: &mut Run) {
        run.held = bytes_of(run.plans.len());
        self.take(&run.gateway(), run.held);
    }

    /// Gives back the room of a record.
    pub fn release(&mut self, run: &mut Run) {
        self.give_back(&run.gateway(), std::mem::take(&mut run.held));
    }

    /// The bytes that are taken.
    #[cfg(debug_assertions)]
    pub fn taken(&self) -> usize {
        self.taken
    }
}

/// Subtracts from one of the sums, and drops it once nothing is left.
fn subtract<K: Ord>(sums: &mut BTreeMap<K, usize>, key: &K, bytes: usize) {
    if let Some(sum) = sums.get_mut(key) {
        *sum = sum.saturating_sub(bytes);
        if *sum == 0 {
            sums.remove(key);
        }
    }
}

// === impl SetAside ===

impl SetAside {
    pub fn count(&self) -> usize {
        self.by_key.len()
    }

    /// The bytes that are kept for runs which are being read.
    #[cfg(debug_assertions)]
    pub fn kept(&self) -> usize {
        self.by_key.values().filter(|place| place.turn == Turn::Read).map(|place| place.bytes).sum()
    }

    pub fn add(&mut self, run: &Run) {
        self.serial += 1;
        let gateway = run.gateway();
        let key = Arc::new(run.key.clone());
        self.queue.put(&gateway, (self.serial, key.clone()));
        let place = Place {
            gateway,
            bytes: bytes_of(run.plans.len()),
            turn: Turn::Queued(self.serial),
            watched: run.watched_version,
            listed_in: run.listed_in,
        };
        self.by_key.insert(key, place);
    }

    /// Forgets a run, and gives back the room that was kept for it if it is being read. Yields what was known of it.
    pub fn remove(&mut self, key: &RunKey, room: &mut Room) -> Option<Place> {
        let (key, place) = self.by_key.remove_entry(key)?;
        match place.turn {
            Turn::Queued(serial) => self.queue.remove(&place.gateway, &(serial, key)),
            Turn::Read => self.end_reading(&place, room),
            Turn::Rests(until) => self.resting.set(&key, &mut Some(until), None),
        }
        Some(place)
    }

    /// The runs of a list's extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, list: u32, room: &mut Room) {
        let stale = self.by_key.iter();
        let stale = stale.filter(|(key, place)| extent.covers(&key.namespace) && place.listed_in != list);
        let stale: Vec<_> = stale.map(|(key, _)| key.clone()).collect();
        stale.iter().for_each(|key| drop(self.remove(key, room)));
    }

    /// The next run for which there is room. It is to be read, and its room is kept for it.
    pub fn next(&mut self, room: &mut Room) -> Option<RunKey> {
        if self.reading >= ROOM_READS_MAX {
            return None;
        }
        let Self { by_key, queue, .. } = self;
        let has_room = |gateway: &GatewayKey| {
            let first = queue.first_of(gateway).and_then(|(_, key)| by_key.get(key));
            first.is_some_and(|place| room.has(gateway, place.bytes))
        };
        let lane = queue.next_lane(has_room)?;
        let (_, key) = self.queue.next_where(|gateway| *gateway == lane)?;
        let place = self.by_key.get_mut(&key)?;
        place.turn = Turn::Read;
        self.reading += 1;
        room.take(&place.gateway, place.bytes);
        Some((*key).clone())
    }

    /// A run was read because there was room for it. Yields what was known of it; nothing if it waits no more.
    pub fn take_read(&mut self, key: &RunKey, room: &mut Room) -> Option<Place> {
        if self.is_read(key) { self.remove(key, room) } else { None }
    }

    /// Whether a run is being read because there is room for it.
    pub fn is_read(&self, key: &RunKey) -> bool {
        self.by_key.get(key).is_some_and(|place| place.turn == Turn::Read)
    }

    /// The reading of a run has failed. It queues up again after a pause; its room is for others meanwhile.
    pub fn read_failed(&mut self, key: &RunKey, now: Millis, room: &mut Room) {
        if !self.is_read(key) {
            return;
        }
        let Some((key, mut place)) = self.by_key.remove_entry(key) else { return };
        self.end_reading(&place, room);
        let until = now + READ_AGAIN;
        place.turn = Turn::Rests(until);
        self.resting.set(&key, &mut None, Some(until));
        self.by_key.insert(key, place);
    }

    /// Runs that have rested for long enough queue up again.
    pub fn run_timers(&mut self, now: Millis) {
        while let Some(key) = self.resting.next_due(now) {
            if let Some(place) = self.by_key.get_mut(&key) {
                self.serial += 1;
                place.turn = Turn::Queued(self.serial);
                self.queue.put(&place.gateway, (self.serial, key));
            }
        }
    }

    pub fn wake_at(&self) -> Option<Millis> {
        self.resting.wake_at()
    }

    fn end_reading(&mut self, place: &Place, room: &mut Room) {
        self.reading -= 1;
        room.give_back(&place.gateway, place.bytes);
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
