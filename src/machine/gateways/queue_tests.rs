//! The queue of one gateway alone: order, turns, groups of suspects, and plans that try a shut gate.

use super::*;
use crate::machine::ids::RequestSeq;

fn waiter(run: u64) -> Waiter {
    Waiter { run: RunId(run), request_seq: RequestSeq(1), lane: Lane(1) }
}

fn queue(offers: &[(i64, u64)]) -> Queue {
    let mut queue = Queue::default();
    for (plan, run) in offers {
        queue.offer(PlanId(*plan), waiter(*run), false);
    }
    queue
}

fn ids(members: &[Member]) -> Vec<i64> {
    members.iter().map(|member| member.plan.0).collect()
}

#[test]
fn plans_are_taken_in_the_order_in_which_they_came() {
    let mut queue = queue(&[(3, 1), (1, 1), (2, 2), (3, 2)]);
    assert_eq!(ids(&queue.take_fresh(2)), [3, 1]);
    assert_eq!(ids(&queue.take_fresh(9)), [2]);
    assert!(queue.is_empty());
}

#[test]
fn one_plan_of_two_runs_is_taken_once_for_both() {
    let mut queue = queue(&[(1, 1), (1, 2)]);
    let members = queue.take_fresh(9);
    assert_eq!((ids(&members), members[0].waiters.len()), (vec![1], 2));
}

#[test]
fn a_plan_without_waiters_is_gone() {
    let mut queue = queue(&[(1, 1), (1, 2), (2, 1)]);
    queue.withdraw(PlanId(1), RunId(1));
    queue.withdraw(PlanId(2), RunId(1));
    assert_eq!(ids(&queue.take_fresh(9)), [1]);
}

#[test]
fn a_run_that_comes_while_a_plan_is_in_a_call_waits_for_the_next_call() {
    let mut queue = Queue::default();
    queue.offer(PlanId(1), waiter(2), true);
    assert!(queue.is_empty(), "it is in a call");
    queue.call_ended(PlanId(1), None);
    assert_eq!(ids(&queue.take_fresh(9)), [1]);
}

#[test]
fn suspects_stay_together_and_apart_from_fresh_ones() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1)]);
    let members = queue.take_fresh(2);
    queue.suspect(members, SuspectHistory { not_before: Millis(5), ..SuspectHistory::default() });
    assert!(queue.take_suspects(9, Millis(4)).is_none(), "not yet");
    queue.withdraw(PlanId(1), RunId(1));
    let (members, _) = queue.take_suspects(9, Millis(5)).expect("suspects");
    assert_eq!(ids(&members), [2]);
    assert_eq!(ids(&queue.take_fresh(9)), [3]);
}

#[test]
fn probes_go_round() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1)]);
    let members = queue.take_fresh(2);
    queue.suspect(members, SuspectHistory::default());
    let mut probed = Vec::new();
    for turn in [false, true, false, false] {
        probed.extend(queue.take_probe(turn, Millis(0)).map(|(member, _)| member.plan.0));
    }
    assert_eq!(probed, [1, 3, 2]);
}

#[test]
fn quarantined_plans_probe_in_their_time_and_in_turn_with_others() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1)]);
    let mut members = queue.take_fresh(2);
    let other = members.pop().into_iter().collect();
    let quarantined =
        SuspectHistory { quarantined: true, not_before: Millis(5), ..SuspectHistory::default() };
    queue.suspect(members, quarantined);
    queue.suspect(other, SuspectHistory::default());
    let mut probed = Vec::new();
    for now in [4, 4, 4, 5] {
        let probe = queue.take_probe(false, Millis(now));
        probed.push(probe.map(|(member, _)| member.plan.0));
    }
    assert_eq!(probed, [Some(2), Some(3), None, Some(1)]);
}

#[test]
fn namespaces_take_turns_in_a_queue() {
    let mut queue = Queue::default();
    for (plan, lane) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3)] {
        let waiter = Waiter { lane: Lane(lane), ..waiter(u64::from(lane)) };
        queue.offer(PlanId(plan), waiter, false);
    }
    let taken: Vec<_> = queue.take_fresh(4).into_iter().map(|member| member.plan.0).collect();
    assert_eq!(taken, [1, 4, 5, 2]);
    assert_eq!(queue.fresh_len(), 1);
}
