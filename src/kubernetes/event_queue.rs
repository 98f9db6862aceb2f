//! The events that wait to be written: bounded, and shared by the namespaces.
//!
//! Pure. Namespaces take turns, so whoever has many events to tell does not hold up the others. When there is no room,
//! the namespace with the most events gives way, and of its events those of type Normal first: they are the first thing
//! that an emergency can do without.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::machine::Event;

/// The most events that wait: with the pace of writing, the last one is written most of a minute later.
pub(super) const EVENTS_MAX: usize = 100;
/// The most events that wait when one of type Normal is let in; the rest of the room is kept for events that warn.
pub(super) const NORMAL_MAX: usize = 60;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    by_namespace: HashMap<Arc<str>, VecDeque<(Event, Timestamp)>>,
    /// The namespaces that have events, the next one first.
    turns: VecDeque<Arc<str>>,
    count: usize,
}

// === impl EventQueue ===

impl EventQueue {
    /// Takes in an event. Yields whether one was dropped for it, or it was itself.
    pub fn push(&mut self, event: Event, time: Timestamp) -> bool {
        let is_full = self.count >= EVENTS_MAX;
        if (!event.warning && self.count >= NORMAL_MAX) || (is_full && !self.make_room(&event)) {
            return true;
        }
        let namespace = event.about.namespace.clone();
        let events = self.by_namespace.entry(namespace.clone()).or_default();
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

    /// Drops an event of the namespace that has the most, if that leaves room for this one. It does not where the event's
    /// own namespace has the most, unless that has one of type Normal.
    fn make_room(&mut self, event: &Event) -> bool {
        let own = self.by_namespace.get(&event.about.namespace).map_or(0, VecDeque::len);
        let Some((most, events)) = self.by_namespace.iter_mut().max_by_key(|(_, events)| events.len()) else {
            return true;
        };
        let is_own = events.len() <= own;
        let normal = events.iter().rposition(|(event, _)| !event.warning);
        let dropped = match normal {
            Some(place) => events.remove(place),
            None if is_own => None,
            None => events.pop_back(),
        };
        if events.is_empty() {
            let most = most.clone();
            self.by_namespace.remove(&most);
            self.turns.retain(|namespace| *namespace != most);
        }
        self.count -= usize::from(dropped.is_some());
        dropped.is_some()
    }
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

    proptest! {
        /// Whatever comes: the queue is bounded, a namespace with fewer events than its share loses no warning, and
        /// between two events of one namespace every other one that waits has its turn.
        #[test]
        fn namespaces_share_the_queue(pushes in prop::collection::vec((0..5_usize, any::<bool>(), any::<bool>()), 0..600)) {
            const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
            let mut queue = EventQueue::default();
            for (name, warning, pops) in pushes {
                let before = queue.by_namespace.get(NAMES[name]).map_or(0, VecDeque::len);
                let dropped = push(&mut queue, NAMES[name], warning);
                let after = queue.by_namespace.get(NAMES[name]).map_or(0, VecDeque::len);
                if warning && before < EVENTS_MAX / NAMES.len() {
                    prop_assert_eq!(after, before + 1, "it was let in, whoever had to go: {}", dropped);
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
