//! The search for bad plans alone: which plans go together after an answer.

use super::*;
use crate::machine::call::Waiter;
use crate::machine::ids::{Lane, RequestSeq, RunId};

fn queue(plans: i64) -> Queue {
    let mut queue = Queue::default();
    for plan in 1..=plans {
        queue.offer(PlanId(plan), Waiter { run: RunId(1), request_seq: RequestSeq(1), lane: Lane(1) }, false);
    }
    queue
}

/// A queue with a call of all its plans refused, so that two halves wait.
fn refused(plans: i64) -> Queue {
    let mut queue = queue(plans);
    let members = queue.take_fresh(1000);
    queue.refused(None, members.len());
    queue.halve(members, SuspectHistory::default(), Millis(0));
    queue
}

fn ids(members: &[Member]) -> Vec<i64> {
    members.iter().map(|member| member.plan.0).collect()
}

fn take(queue: &mut Queue, now: u64) -> Option<(Vec<i64>, SuspectHistory)> {
    queue.take_suspects(1000, Millis(now)).map(|(members, history)| (ids(&members), history))
}

#[test]
fn the_other_half_of_an_accepted_one_is_halved_unasked() {
    let mut queue = refused(8);
    let (first, history) = take(&mut queue, 0).expect("a half");
    assert_eq!((first, take(&mut queue, 0)), (vec![1, 2, 3, 4], None), "the other half waits");
    queue.accepted(history, 1, Millis(0));
    let (third, history) = take(&mut queue, 0).expect("a half of the other half");
    assert_eq!((third, take(&mut queue, 0)), (vec![5, 6], None));
    queue.accepted(history, 1, Millis(0));
    let (plan, history) = take(&mut queue, 0).expect("the first of two");
    assert_eq!(plan, [7]);
    queue.accepted(history, 1, Millis(0));
    let (plan, history) = take(&mut queue, 0).expect("it is asked alone: only its own answer settles it");
    assert_eq!((plan, history.other_half, queue.is_empty()), (vec![8], None, true));
}

#[test]
fn the_other_half_of_a_refused_one_joins_those_of_which_nothing_is_known() {
    let mut queue = refused(8);
    let (members, history) = queue.take_suspects(1000, Millis(0)).expect("a half");
    queue.halve(members, history.of_part(), Millis(0));
    queue.refused(Some(history), 4);
    let (first, history) = take(&mut queue, 0).expect("a half of the first half");
    assert_eq!(first, [1, 2]);
    queue.refused(Some(history), 2);
    let (pooled, history) = take(&mut queue, 0).expect("what nothing is known of");
    assert_eq!((pooled, history.pooled), (vec![5, 6, 7, 8, 3], true), "seven of ten, as a guess");
    assert_eq!(take(&mut queue, 0).map(|taken| taken.0), Some(vec![4]), "and the rest");
}

#[test]
fn a_call_takes_the_fewer_the_more_bad_plans_were_found() {
    let guess = Search { first: 100, ..Search::default() };
    for (good, bad, draw) in [(0, 0, 70), (100, 0, 140), (95, 5, 23), (50, 50, 2), (0, 100, 1), (900, 0, 700)]
    {
        assert_eq!(Search { good, bad, ..guess }.draw(), draw, "{good} good and {bad} bad");
    }
    let mut long = guess;
    (0..100).for_each(|_| long.count(100, 0));
    (0..100).for_each(|_| long.count(0, 20));
    assert_eq!(long.draw(), 1, "what was good long ago does not count any more");
}

#[test]
fn the_other_half_waits_a_second_at_most() {
    let mut queue = refused(4);
    assert_eq!(take(&mut queue, 0).map(|taken| taken.0), Some(vec![1, 2]));
    assert_eq!(queue.suspects_at(), Some(Millis(1_000)));
    assert_eq!(take(&mut queue, 999), None);
    let (other, history) = take(&mut queue, 1_000).expect("the other half");
    assert_eq!((other, history.pooled), (vec![3, 4], false));
}

#[test]
fn a_plan_that_tries_a_gate_says_nothing_of_the_other_half() {
    let mut queue = refused(4);
    let (member, history) = queue.take_suspect(|_| true).expect("a suspect");
    let history = history.expect("it was in a group");
    assert_eq!((member.plan.0, history.other_half), (1, None));
    queue.accepted(history, 1, Millis(0));
    let waits: Vec<_> = queue.suspects.iter().map(|group| group.history.not_before.0).collect();
    assert_eq!(waits, [1_000, 0], "the other half still waits for the rest of the first one");
}

#[test]
fn those_to_blame_are_not_mixed_with_others() {
    let mut queue = refused(8);
    let (_, first) = queue.take_suspects(1000, Millis(0)).expect("a half");
    let blamed = SuspectHistory { quarantined: true, ..SuspectHistory::default() };
    let members = queue.take_suspects(1000, Millis(1_000)).expect("the other half").0;
    queue.halve(members, blamed, Millis(0));
    queue.refused(Some(first), 4);
    let (_, blamed) = take(&mut queue, 0).expect("a half of those to blame");
    queue.refused(Some(blamed), 2);
    let (plans, history) = take(&mut queue, 0).expect("its other half");
    assert_eq!((plans, history.pooled, history.quarantined), (vec![7, 8], true, true));
}
