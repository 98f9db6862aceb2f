//! Requests and withdrawals, as sequences of looks at one run.

use super::*;
use crate::stop::fixtures;

fn view(stopped: Option<bool>, annotation: Option<&str>) -> RunView {
    let mut run = fixtures::run("team", "nightly", vec![1]);
    run.spec.stopped = stopped;
    run.stop_annotation = annotation.map(str::to_owned);
    run
}

/// Looks at the run in each state in turn, and says of each whether it is asked for, and whether anew.
fn told(looks: &[(Option<bool>, Option<&str>)]) -> Vec<&'static str> {
    let mut standing = Standing::default();
    let look = |(stopped, annotation): &(Option<bool>, Option<&str>)| {
        let wish = wish(&view(*stopped, *annotation), &standing);
        standing = wish.standing;
        match (standing.stop, wish.new) {
            (Stop::Asked(_), true) => "new",
            (Stop::Asked(_), false) => "asked",
            (Stop::Rearmed(_), _) => "rearmed",
            (Stop::None, _) => "nothing",
        }
    };
    looks.iter().map(look).collect()
}

#[test]
fn a_request_is_an_edge() {
    const TRUE: Option<bool> = Some(true);
    const FALSE: Option<bool> = Some(false);
    type Looks<'a> = &'a [(Option<bool>, Option<&'a str>)];
    let rows: &[(&str, Looks<'_>, &[&str])] = &[
        ("nothing asked for", &[(None, None), (FALSE, None)], &["nothing", "nothing"]),
        ("true stays true", &[(TRUE, None), (TRUE, None)], &["new", "asked"]),
        ("false re-arms", &[(TRUE, None), (FALSE, None), (TRUE, None)], &["new", "rearmed", "new"]),
        ("false stays false", &[(TRUE, None), (FALSE, None), (FALSE, None)], &["new", "rearmed", "rearmed"]),
        ("removed is no opinion", &[(TRUE, None), (None, None), (TRUE, None)], &["new", "asked", "asked"]),
        ("removed after false", &[(TRUE, None), (FALSE, None), (None, None)], &["new", "rearmed", "rearmed"]),
        ("annotation", &[(None, Some("a")), (None, Some("a"))], &["new", "asked"]),
        ("annotation changes", &[(None, Some("a")), (None, Some("b"))], &["new", "new"]),
        (
            "annotation goes and comes",
            &[(None, Some("a")), (None, None), (None, Some("a"))],
            &["new", "asked", "asked"],
        ),
        ("annotation although Git says false", &[(FALSE, Some("a")), (FALSE, Some("a"))], &["new", "asked"]),
        ("and taken back with it", &[(FALSE, Some("a")), (FALSE, None)], &["new", "rearmed"]),
        ("annotation that says no", &[(None, Some("false")), (None, Some(""))], &["nothing", "nothing"]),
        ("says no, then yes", &[(None, Some("No")), (None, Some("now"))], &["nothing", "new"]),
        ("both at once are one request", &[(TRUE, Some("a")), (TRUE, Some("a"))], &["new", "asked"]),
        ("annotation on a stopped run", &[(TRUE, None), (TRUE, Some("a"))], &["new", "new"]),
        ("turned false under an annotation", &[(TRUE, Some("a")), (FALSE, Some("a"))], &["new", "rearmed"]),
        ("true after an annotation", &[(FALSE, Some("a")), (TRUE, Some("a"))], &["new", "new"]),
    ];
    for (name, looks, expected) in rows {
        assert_eq!(told(looks), *expected, "{name}");
    }
}

#[test]
fn values_that_read_as_a_no_are_told_once() {
    for value in ["", " ", "false", "False", "no", "0"] {
        let first = wish(&view(None, Some(value)), &Standing::default());
        assert!(first.invalid_annotation, "{value:?}");
        let second = wish(&view(None, Some(value)), &first.standing);
        assert!(!second.invalid_annotation, "{value:?} again");
    }
}

#[test]
fn a_run_from_a_backup_is_not_stopped_by_itself_but_by_a_new_request() {
    let mut restored = view(Some(true), Some("old"));
    restored.restored = true;
    let first = wish(&restored, &Standing::default());
    assert_eq!((first.standing.stop, first.new), (Stop::None, false));
    restored.stop_annotation = Some("new".to_owned());
    assert!(wish(&restored, &first.standing).new);
}

#[test]
fn a_plan_on_another_gateway_is_another_plan() {
    let first = wish(&view(None, Some("a")), &Standing::default());
    let mut moved = view(None, Some("a"));
    moved.spec.gateway_ref = Some(crate::api::GatewayRef { name: Some("other".to_owned()) });
    assert!(wish(&moved, &first.standing).new);
}
