//! The events that wait to be written: bounded, and shared by the namespaces.
//!
//! Pure. Namespaces take turns, so whoever has many events to tell does not hold up the others. When there is no room,
//! those of type Normal go first, since they are the first thing that an emergency can do without; then the namespace
//! with the most events gives way. But a few events of each namespace are let in whatever the others have to tell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::machine::Event;

/// The most events that wait: with the pace of writing, the last one is written most of a minute later.
pub(super) const EVENTS_MAX: usize = 100;
/// The most events that wait when one of type Normal is let in; the rest of the room is kept for events that warn.
pub(super) const NORMAL_MAX: usize = 60;
/// The number of events of type Normal of each namespace that do not give way to warnings of others, and are let in
/// although others have filled the queue: so that a namespace in trouble silences no other.
pub(super) const SHARE: usize = 5;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    /// No namespace is without an event.
    by_namespace: BTreeMap<Arc<str>, VecDeque<(Event, Timestamp)>>,
    /// The namespaces, the next one first.
    turns: VecDeque<Arc<str>>,
    count: usize,
}

// === impl EventQueue ===

impl EventQueue {
    /// Takes in an event. Yields whether one was dropped for it, or it was itself.
    pub fn push(&mut self, event: Event, time: Timestamp) -> bool {
        let namespace = event.about.namespace.clone();
        let own = self.by_namespace.get(&namespace).map_or(0, VecDeque::len);
        let is_crowded = self.count >= if event.warning { EVENTS_MAX } else { NORMAL_MAX };
        if is_crowded && !event.warning && own >= SHARE {
            return true;
        }
        let is_full = self.count >= EVENTS_MAX;
        if is_full && !self.make_room(&event, own) {
            return true;
        }
        let events = self.by_namespace.entry(namespace.clone()).or_default();
        // Its turn may be gone with the event that was dropped.
        if events.is_empty() {
            self.turns.push_back(namespace);
        }
        events.push_back((event, time));
        self.count += 1;
        is_full
    }

    /// The next event: the first one of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<(Event, Timestamp)> {
        let namespace = self.turns.pop_front()?;
        let events = self.by_namespace.get_mut(&namespace)?;
        let event = events.pop_front();
        if events.is_empty() {
            self.by_namespace.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.count -= usize::from(event.is_some());
        event
    }

    /// Drops an event for this one, if another may go. `own`: the number of events of its namespace.
    fn make_room(&mut self, event: &Event, own: usize) -> bool {
        let normal = self.by_namespace.iter().max_by_key(|(_, events)| normal_of(events));
        if let Some((namespace, _)) = normal.filter(|(_, events)| normal_of(events) > SHARE) {
            return self.drop_last_of(&namespace.clone(), false);
        }
        let most = self.by_namespace.iter().max_by_key(|(_, events)| events.len());
        if let Some((namespace, _)) = most.filter(|(_, events)| events.len() > own) {
            let namespace = namespace.clone();
            return self.drop_last_of(&namespace, false) || self.drop_last_of(&namespace, true);
        }
        // Its own namespace has as many as any: a warning takes the place of one of type Normal there, if there is one.
        event.warning && self.drop_last_of(&event.about.namespace, false)
    }

    /// Drops the last event of a namespace that warns, or that does not.
    fn drop_last_of(&mut self, namespace: &Arc<str>, warning: bool) -> bool {
        let Some(events) = self.by_namespace.get_mut(namespace) else { return false };
        let Some(place) = events.iter().rposition(|(event, _)| event.warning == warning) else {
            return false;
        };
        events.remove(place);
        self.count -= 1;
        if events.is_empty() {
            self.by_namespace.remove(namespace);
            self.turns.retain(|other| other != namespace);
        }
        true
    }
}

/// The number of events of type Normal.
fn normal_of(events: &VecDeque<(Event, Timestamp)>) -> usize {
    events.iter().filter(|(event, _)| !event.warning).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::EventReason;
    use crate::machine::{ObjectKey, RunKey};

    fn event(namespace: &str, warning: bool) -> Event {
        Event {
            about: ObjectKey::Run(RunKey::new(namespace, "nightly")),
            uid: "1".into(),
            warning,
            reason: EventReason::StopAccepted,
            message: String::new(),
            given: None,
        }
    }

    fn push(queue: &mut EventQueue, namespace: &str, warning: bool) -> bool {
        queue.push(event(namespace, warning), Timestamp::UNIX_EPOCH)
    }

    fn rest(queue: &mut EventQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|(event, _)| event.about.namespace.to_string()).collect()
    }

    #[test]
    fn one_warning_is_not_held_up_by_three_hundred_of_another_namespace() {
        let mut queue = EventQueue::default();
        let dropped = (0..300).filter(|_| push(&mut queue, "a", true)).count();
        assert_eq!(dropped, 300 - EVENTS_MAX);
        assert!(push(&mut queue, "b", true), "one of a is dropped for it");
        let order = rest(&mut queue);
        assert_eq!((order.len(), order[1].as_str()), (EVENTS_MAX, "b"), "the second turn is b's");
    }

    #[test]
    fn what_warns_has_room_where_what_went_well_has_none() {
        let mut queue = EventQueue::default();
        (0..EVENTS_MAX).for_each(|_| {
            push(&mut queue, "a", false);
        });
        assert_eq!(queue.count, NORMAL_MAX);
        assert!(!push(&mut queue, "a", true));
        (0..EVENTS_MAX).for_each(|_| {
            push(&mut queue, "a", true);
        });
        let events: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(event, _)| event.warning).collect();
        assert_eq!(events, [true; EVENTS_MAX], "each one of type Normal gave way");
    }

    #[test]
    fn what_went_well_in_a_namespace_is_told_although_others_have_filled_the_queue() {
        let mut queue = EventQueue::default();
        (0..300).for_each(|_| {
            push(&mut queue, "a", true);
        });
        let told = (0..20).filter(|_| {
            push(&mut queue, "b", false);
            queue.by_namespace.get("b").is_some_and(|events| events.len() <= SHARE)
        });
        assert_eq!(told.count(), 20, "no more than its share");
        assert_eq!(queue.by_namespace.get("b").map(VecDeque::len), Some(SHARE));
        (0..300).for_each(|_| {
            push(&mut queue, "a", true);
        });
        assert_eq!(rest(&mut queue).iter().filter(|namespace| *namespace == "b").count(), SHARE);
    }

    #[test]
    fn what_went_well_gives_way_before_anybodys_warning() {
        let mut queue = EventQueue::default();
        (0..30).for_each(|_| {
            push(&mut queue, "b", false);
        });
        (0..EVENTS_MAX - 30).for_each(|_| {
            push(&mut queue, "a", true);
        });
        assert!(push(&mut queue, "c", true));
        let left = |namespace: &str| queue.by_namespace.get(namespace).map_or(0, VecDeque::len);
        assert_eq!((left("a"), left("b"), left("c")), (EVENTS_MAX - 30, 29, 1));
    }

    proptest! {
        /// Whatever comes: the queue is bounded, a namespace with fewer events than its share loses none, no warning is
        /// dropped while more than a few of type Normal wait, and between two events of one namespace every other one
        /// that waits has its turn.
        #[test]
        fn namespaces_share_the_queue(pushes in prop::collection::vec((0..5_usize, any::<bool>(), any::<bool>()), 0..600)) {
            const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
            let warnings = |queue: &EventQueue| {
                queue.by_namespace.values().map(|events| events.len() - normal_of(events)).sum::<usize>()
            };
            let mut queue = EventQueue::default();
            for (name, warning, pops) in pushes {
                let before = queue.by_namespace.get(NAMES[name]).map_or(0, VecDeque::len);
                let warned = warnings(&queue) + usize::from(warning);
                let most_normal = queue.by_namespace.values().map(normal_of).max().unwrap_or_default();
                let dropped = push(&mut queue, NAMES[name], warning);
                let after = queue.by_namespace.get(NAMES[name]).map_or(0, VecDeque::len);
                if before < if warning { EVENTS_MAX / NAMES.len() } else { SHARE } {
                    prop_assert!(after > before || most_normal > SHARE, "it was let in: {}", dropped);
                }
                if most_normal > SHARE {
                    prop_assert_eq!(warnings(&queue), warned);
                }
                if pops {
                    queue.pop();
                }
                prop_assert!(queue.count <= EVENTS_MAX);
                prop_assert_eq!(queue.count, queue.by_namespace.values().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(queue.turns.len(), queue.by_namespace.len());
            }
            let waiting = queue.turns.len();
            let first: std::collections::BTreeSet<_> = rest(&mut queue).into_iter().take(waiting).collect();
            prop_assert_eq!(first.len(), waiting);
        }
    }
}
