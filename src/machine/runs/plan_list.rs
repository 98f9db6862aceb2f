//! The plans of a run in the order of its spec, each found by its id without a search through all of them.

use std::ops::{Deref, DerefMut};

use crate::machine::ids::PlanId;
use crate::machine::runs::plan::Plan;

/// The plans of a run. No id is in it twice, and the id of a plan does not change.
#[derive(Clone, Debug, Default)]
pub struct PlanList {
    plans: Vec<Plan>,
    /// Places in the list by rising id; empty where a search costs no more.
    by_id: Box<[u16]>,
}

/// So many plans are searched one by one.
const SEARCHED_MAX: usize = 16;

// === impl PlanList ===

impl PlanList {
    /// The place of a plan.
    pub fn position(&self, id: PlanId) -> Option<usize> {
        if self.by_id.is_empty() {
            return self.plans.iter().position(|plan| plan.id == id);
        }
        let found = self.by_id.binary_search_by_key(&id, |place| self.plans[usize::from(*place)].id);
        found.ok().map(|index| usize::from(self.by_id[index]))
    }

    pub fn find(&self, id: PlanId) -> Option<&Plan> {
        self.position(id).map(|place| &self.plans[place])
    }
}

impl From<Vec<Plan>> for PlanList {
    fn from(plans: Vec<Plan>) -> Self {
        let is_indexed = (SEARCHED_MAX..=usize::from(u16::MAX)).contains(&plans.len());
        let mut by_id: Vec<u16> = if is_indexed { (0..).take(plans.len()).collect() } else { Vec::new() };
        by_id.sort_unstable_by_key(|place| plans[usize::from(*place)].id);
        Self { plans, by_id: by_id.into() }
    }
}

impl FromIterator<Plan> for PlanList {
    fn from_iter<I: IntoIterator<Item = Plan>>(plans: I) -> Self {
        plans.into_iter().collect::<Vec<_>>().into()
    }
}

impl IntoIterator for PlanList {
    type Item = Plan;
    type IntoIter = std::vec::IntoIter<Plan>;
    fn into_iter(self) -> Self::IntoIter {
        self.plans.into_iter()
    }
}

impl Deref for PlanList {
    type Target = [Plan];
    fn deref(&self) -> &[Plan] {
        &self.plans
    }
}

impl DerefMut for PlanList {
    fn deref_mut(&mut self) -> &mut [Plan] {
        &mut self.plans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_is_found_where_it_is() {
        for count in [0, 1, SEARCHED_MAX - 1, SEARCHED_MAX, 1_000] {
            // In an order that is neither rising nor falling.
            let ids: Vec<_> = (0..count as i64).map(|index| PlanId(index * 7_919 % 10_007)).collect();
            let list: PlanList = ids.iter().map(|id| Plan::queued(*id, None)).collect();
            for (place, id) in ids.iter().enumerate() {
                assert_eq!(list.position(*id), Some(place), "of {count}");
            }
            assert_eq!(list.position(PlanId(-1)), None);
            assert!(list.iter().map(|plan| plan.id).eq(ids), "the order of the spec stays");
        }
    }
}
