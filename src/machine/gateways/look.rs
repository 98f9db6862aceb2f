//! The times of looks at a gateway that could not be connected to, while nobody waits for it.

use crate::machine::backoff::pause_of_looks;
use crate::machine::input::Reached;
use crate::machine::limits::LOOK_FIRST;
use crate::machine::time::Millis;

/// The looks at one gateway.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The number of the look under way. The end of any other one, such as from before an edit, means nothing.
    pub(in crate::machine) under_way: Option<u32>,
    /// The moment of the next one, if nobody waits by then.
    pub(in crate::machine) at: Millis,
    /// Looks in a row since the trouble began.
    pub(in crate::machine) in_a_row: u8,
    /// The latest one since then.
    pub last: Option<Reached>,
}

// === impl Look ===

impl Look {
    /// A trouble has begun, or what was seen before counts no more.
    pub fn restart(&mut self, now: Millis) {
        *self = Self { at: now + LOOK_FIRST, ..Self::default() };
    }

    /// The moment from which on the next one may begin.
    pub fn due_at(&self) -> Option<Millis> {
        self.under_way.is_none().then_some(self.at)
    }

    /// `number`: no other look at any gateway has it.
    pub fn begin(&mut self, number: u32) {
        self.under_way = Some(number);
    }

    /// Takes in the end of a look. Yields whether it is of the present.
    pub fn end(&mut self, number: u32, reached: Reached, now: Millis) -> bool {
        if self.under_way != Some(number) {
            return false;
        }
        self.under_way = None;
        self.at = now + pause_of_looks(self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = Some(reached);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_look_from_before_an_edit_means_nothing() {
        let mut look = Look::default();
        look.begin(1);
        look.restart(Millis(10));
        assert!(!look.end(1, Reached::Opened, Millis(20)) && look.last.is_none());
        look.begin(2);
        assert!(!look.end(1, Reached::Opened, Millis(20)));
        assert_eq!(look.due_at(), None, "one at a time");
        assert!(look.end(2, Reached::Opened, Millis(20)));
        assert_eq!(look.due_at(), Some(Millis(20) + LOOK_FIRST));
    }
}
