//! The room for records alone.

use super::*;

fn gateway(namespace: &str) -> GatewayKey {
    GatewayKey::new(namespace, "default")
}

/// Takes records of 100 bytes for a gateway for as long as there is room, and yields how many there are.
fn fill(room: &mut Room, gateway: &GatewayKey) -> usize {
    let mut count = 0;
    while room.has(gateway, 100) {
        room.take(gateway, 100);
        count += 1;
    }
    count
}

#[test]
fn half_of_the_room_is_for_the_first_and_half_for_each_namespace() {
    let mut room = Room::of(8_000);
    assert_eq!(fill(&mut room, &gateway("flood")), 40, "the first one gets half");
    assert_eq!(fill(&mut room, &gateway("b")), 20, "and a second one half of the other half");
    let shares: Vec<_> = ["c", "d", "e", "f"].map(|name| fill(&mut room, &gateway(name))).into();
    assert_eq!(shares, [13, 7, 1, 1], "in the end there is room for one record each");
    (0..40).for_each(|_| room.give_back(&gateway("flood"), 100));
    assert!(room.has(&gateway("f"), 100), "what is given back is for all");
}

#[test]
fn a_gateway_without_a_record_gets_one_in_while_there_is_any_room() {
    let mut room = Room::of(1_000);
    fill(&mut room, &gateway("a"));
    let other = GatewayKey::new("a", "other");
    assert_eq!(fill(&mut room, &other), 1);
    assert!(!room.has(&GatewayKey::new("a", "third"), 500), "not beyond the whole");
}

#[test]
fn what_is_given_back_leaves_nothing() {
    let mut room = Room::of(1_000);
    room.take(&gateway("a"), 300);
    room.give_back(&gateway("a"), 100);
    room.give_back(&gateway("a"), 200);
    assert_eq!((room.taken(), room.by_namespace.len(), room.by_gateway.len()), (0, 0, 0));
}
