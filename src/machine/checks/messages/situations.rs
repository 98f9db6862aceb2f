//! The situations in which people read messages, and how each comes about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{CleanupAction, DeletionPolicy};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, Options, World, gateway_key, run_key};
use crate::machine::{CleanupView, Extent, FieldSet, Input, Kind, Marks, ObjectKey, ObjectView, Version};

/// How a situation comes about.
pub(super) type Act = fn(&mut World);

/// A situation in words, and how it comes about.
pub(super) type Situation = (&'static str, Act);

pub(super) const RUN: &str = "nightly";
const PLANS: &[i64] = &[614, 615];
/// A run of another plan.
const OTHER: &str = "weekly";

pub(super) fn world() -> World {
    World::settled(&[(RUN, PLANS), (OTHER, &[1])], Options::default())
}

fn stop(world: &mut World, how: How, millis: u64) {
    world.edit(RUN, |run| {
        run.spec.stopped = Some(true);
        run.stopped_set = set("kubectl-patch");
    });
    world.live(millis, how);
}

fn set(manager: &str) -> Option<FieldSet> {
    Some(FieldSet { manager: manager.to_owned(), time: Some(wall(0)) })
}

/// Gives the run a deadline so many seconds after the test began.
fn set_deadline(world: &mut World, seconds: i64) {
    world.edit(RUN, |run| {
        (run.created, run.spec.active_deadline_seconds) = (Some(wall(0)), Some(seconds));
    });
}

fn unset(world: &mut World, manager: &str) {
    world.edit(RUN, |run| {
        run.spec.stopped = Some(false);
        run.stopped_set = set(manager);
    });
}

/// A cleanup rule is seen.
fn clean_up(world: &mut World, change: impl FnOnce(&mut CleanupView)) {
    let mut view = fixtures::cleanup("team", "@yearly");
    change(&mut view);
    world.feed(Input::Seen(ObjectView::Cleanup(Box::new(view))));
}

fn annotate(world: &mut World, value: Option<&str>) {
    world.edit(RUN, |run| {
        run.stop_annotation = value.map(str::to_owned);
        run.annotation_set = set("kubectl-annotate");
    });
}

/// Time passes in which nothing is answered but writes.
fn hang(world: &mut World, millis: u64) {
    world.pass(millis);
    world.write_all();
}

fn be_of(world: &mut World, nature: Nature, plans: &[i64]) {
    world.fake_gateway.natures.extend(plans.iter().map(|plan| (*plan, nature)));
}

fn restore(world: &mut World) {
    world.recreate_unseen(RUN, |run| {
        (run.created, run.restored) = (Some(wall(2_000)), Some("monday".to_owned()));
        run.spec.stopped = Some(true);
        run.status.start_time = Some(Time(wall(0)));
    });
    world.hear_all();
    world.live(5_000, How::ByNature);
}

/// The gateway fails for one plan, and serves that of another run meanwhile.
fn fail_for_one(world: &mut World) {
    be_of(world, Nature::FailsCall(500), &[615]);
    stop(world, How::ByNature, 2_000);
    for _ in 0..12 {
        world.withdraw(OTHER);
        world.stop(OTHER);
        world.live(5_000, How::ByNature);
    }
}

fn suspend(world: &mut World) {
    world.edit_gateway("default", |gateway| gateway.spec.suspend = Some(true));
}

fn without_gateway(world: &mut World, input: Option<Input>) {
    world.server.delete_gateway(&gateway_key("default"));
    world.hear_all();
    input.into_iter().for_each(|input| world.feed(input));
    stop(world, How::ByNature, 40_000);
}

pub(super) const RUNS: &[(&str, &[Situation])] = &[
    (
        "NotRequested",
        &[
            ("No stop was ever asked for.", |_| {}),
            ("The same, and the run has a deadline.", |world| {
                set_deadline(world, 3_600);
                world.live(5_000, How::ByNature);
            }),
            ("The stop was taken back after it was complete.", |world| {
                stop(world, How::ByNature, 5_000);
                unset(world, "kubectl-patch");
                world.live(5_000, How::ByNature);
            }),
            ("A plan was added after a stop by annotation was complete.", |world| {
                annotate(world, Some("1"));
                world.live(5_000, How::ByNature);
                world.edit(RUN, |run| run.spec.plans.push(616));
                world.live(5_000, How::ByNature);
            }),
        ],
    ),
    ("Restored", &[("The run came out of a backup.", restore)]),
    (
        "Withdrawn",
        &[
            ("The stop was taken back while plans waited.", |world| {
                stop(world, How::Status(503), 5_000);
                unset(world, "kubectl-patch");
                world.live(5_000, How::Status(503));
            }),
            ("The same, and a call was under way.", |world| {
                world.stop(RUN);
                hang(world, 1_500);
                unset(world, "kubectl-patch");
                hang(world, 1_500);
            }),
        ],
    ),
    (
        "Stopping",
        &[
            ("The gateway is asked.", |world| {
                world.stop(RUN);
                hang(world, 1_500);
            }),
            ("The gateway serves others, and fails for this plan.", fail_for_one),
        ],
    ),
    ("Accepted", &[("A plan was running.", |world| stop(world, How::ByNature, 5_000))]),
    (
        "NotRunning",
        &[("No plan was running.", |world| {
            be_of(world, Nature::NotRunning, PLANS);
            stop(world, How::ByNature, 5_000);
        })],
    ),
    (
        "PartiallyStopped",
        &[("Some plans were not stopped.", |world| {
            be_of(world, Nature::Rejected, &[615]);
            stop(world, How::ByNature, 5_000);
        })],
    ),
    (
        "Failed",
        &[("No plan was stopped.", |world| {
            be_of(world, Nature::Rejected, PLANS);
            stop(world, How::ByNature, 5_000);
        })],
    ),
    (
        "Expired",
        &[("The deadline has passed.", |world| stop(world, How::Status(503), STOP_DEADLINE + 10_000))],
    ),
    ("GatewayNotFound", &[("There is no such gateway.", |world| without_gateway(world, None))]),
    (
        "GatewayNotListed",
        &[("The operator may not list gateways.", |world| {
            let why = "testiniumgateways.testinium.io is forbidden".to_owned();
            without_gateway(world, Some(Input::ListFailed(Extent::all(Kind::Gateways), why)));
        })],
    ),
    (
        "GatewayUnreadable",
        &[("The gateway was written under another schema.", |world| {
            let key = ObjectKey::Gateway(gateway_key("default"));
            let why = "spec.timeoutSeconds: invalid type: string \"9\", expected i64".to_owned();
            without_gateway(world, Some(Input::Unreadable(key, "gateway".into(), Version(99), why)));
        })],
    ),
    (
        "Suspended",
        &[("`spec.suspend` is true.", |world| {
            suspend(world);
            stop(world, How::ByNature, 40_000);
        })],
    ),
    (
        "Unreachable",
        &[
            ("No connection can be made.", |world| stop(world, How::Unreachable, 40_000)),
            ("No answer comes in `spec.timeoutSeconds`.", |world| stop(world, How::Late, 40_000)),
            ("The connection breaks.", |world| stop(world, How::Lost, 40_000)),
            ("The gateway fails, or asks for a pause.", |world| stop(world, How::Status(503), 40_000)),
            ("Something else answers, such as a proxy.", |world| stop(world, How::Status(403), 40_000)),
        ],
    ),
    (
        "AuthenticationFailed",
        &[("The gateway refuses the credential.", |world| stop(world, How::Status(401), 40_000))],
    ),
    ("Forbidden", &[("The credential may not stop plans.", |world| stop(world, How::Own(403), 40_000))]),
    (
        "Misconfigured",
        &[
            ("The gateway redirects.", |world| stop(world, How::Status(302), 40_000)),
            ("Something else answers that there is no such page.", |world| {
                stop(world, How::Status(404), 40_000)
            }),
        ],
    ),
];

pub(super) const GATEWAYS: &[(&str, &[Situation])] = &[
    ("NotTried", &[("Nothing has been called with the present credential.", |_| {})]),
    (
        "Succeeded",
        &[("Testinium has answered well.", |world| {
            stop(world, How::ByNature, 5_000);
            world.live(10_000, How::ByNature);
        })],
    ),
    (
        "Progressing",
        &[("The login takes long.", |world| {
            world.options.slow_secrets = true;
            world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
            for _ in 0..30 {
                world.pass(500);
                world.write_statuses();
                world.hear(Kind::Gateways);
            }
        })],
    ),
    (
        "Unreachable",
        &[("Calls fail, and no stop waits any more.", |world| {
            stop(world, How::Status(503), 5_000);
            unset(world, "kubectl-patch");
            world.live(20_000, How::Status(503));
        })],
    ),
    (
        "Suspended",
        &[("`spec.suspend` is true.", |world| {
            suspend(world);
            world.live(10_000, How::ByNature);
        })],
    ),
];

pub(super) const EVENTS: &[(&str, Act)] = &[
    ("StopAccepted", |world| stop(world, How::ByNature, 5_000)),
    ("StopNotNeeded", |world| {
        be_of(world, Nature::NotRunning, PLANS);
        stop(world, How::ByNature, 5_000);
    }),
    ("PartiallyStopped", |world| {
        be_of(world, Nature::Rejected, &[615]);
        stop(world, How::ByNature, 5_000);
    }),
    ("StopFailed", |world| {
        be_of(world, Nature::Rejected, PLANS);
        stop(world, How::ByNature, 5_000);
    }),
    ("StopExpired", |world| stop(world, How::Status(503), STOP_DEADLINE + 10_000)),
    ("GatewayUnavailable", |world| stop(world, How::Status(503), 5_000)),
    ("DeadlinePassed", |world| {
        set_deadline(world, 2);
        world.live(5_000, How::ByNature);
    }),
    ("StopBeforeDeletion", |world| {
        world.edit(RUN, |run| run.spec.deletion_policy = Some(DeletionPolicy::Stop));
        world.live(1_000, How::ByNature);
        world.server.delete_run(&run_key(RUN));
        world.hear_all();
    }),
    ("DeletionSkipped", |world| {
        world.machine.runs.may_put_finalizers = Some(false);
        world.edit(RUN, |run| run.spec.deletion_policy = Some(DeletionPolicy::Stop));
        world.live(1_000, How::ByNature);
    }),
    ("PlanAskedAgain", fail_for_one),
    ("StopAbandoned", |world| {
        stop(world, How::Status(503), 5_000);
        world.server.delete_run(&run_key(RUN));
        world.hear_all();
    }),
    ("StopWithdrawn", |world| {
        stop(world, How::Status(503), 5_000);
        unset(world, "kubectl-patch");
    }),
    ("StopReverted", |world| {
        stop(world, How::Status(503), 5_000);
        unset(world, "kustomize-controller");
    }),
    ("StopContinues", |world| {
        stop(world, How::Status(503), 5_000);
        world.edit(RUN, |run| run.spec.stopped = None);
    }),
    ("StopNotWithdrawn", |world| {
        annotate(world, Some("1"));
        stop(world, How::Status(503), 5_000);
        annotate(world, Some("no"));
    }),
    ("StopContested", |world| {
        stop(world, How::Status(503), 5_000);
        for _ in 0..3 {
            unset(world, "kustomize-controller");
            world.live(1_000, How::Status(503));
            world.edit(RUN, |run| {
                run.spec.stopped = Some(true);
                run.stopped_set = set("another-controller");
            });
            world.live(1_000, How::Status(503));
        }
    }),
    ("InvalidAnnotation", |world| annotate(world, Some(""))),
    ("Restored", restore),
    ("TTLSkipped", |world| {
        world.edit(RUN, |run| {
            run.spec.ttl_seconds_after_finished = Some(0);
            let names = vec!["argocd.argoproj.io/tracking-id".to_owned()];
            run.marks = Some(Box::new(Marks { names, ..Marks::default() }));
        });
        stop(world, How::ByNature, 5_000);
    }),
    ("DeletionRefused", |world| {
        world.edit(RUN, |run| {
            (run.spec.ttl_seconds_after_finished, run.marks) = (Some(0), Some(Box::default()));
        });
        world.stop(RUN);
        world.answered(How::ByNature);
        for _ in 0..20 {
            world.hear_all();
            let Some((id, op)) = world.ops.iter().next() else {
                world.tick();
                continue;
            };
            let (id, is_deletion) = (*id, op.is_deletion());
            if is_deletion { world.refuse(id) } else { world.reply(id) }
        }
    }),
    ("Unreadable", |world| {
        let key = ObjectKey::Gateway(gateway_key("default"));
        let why = "spec.timeoutSeconds: invalid type: string \"9\", expected i64".to_owned();
        world.feed(Input::Unreadable(key, "gateway".into(), Version(99), why));
    }),
    ("StatusRefused", |world| {
        world.stop(RUN);
        world.answered(How::ByNature);
        for _ in 0..2 {
            world.refuse(world.request());
        }
    }),
    ("CleanupStops", |world| {
        clean_up(world, |rule| rule.run_now = Some("1".to_owned()));
        world.run_until_settled();
    }),
    ("CleanupDeletes", |world| {
        stop(world, How::ByNature, 5_000);
        clean_up(world, |rule| {
            rule.spec.action = CleanupAction::Delete;
            rule.run_now = Some("1".to_owned());
        });
        world.run_until_settled();
    }),
    ("CleanupIncomplete", |world| {
        clean_up(world, |rule| rule.run_now = Some("1".to_owned()));
        for _ in 0..2 {
            world.refuse(world.request());
        }
    }),
    ("ScheduleMissed", |world| {
        world.pass(7_200_000);
        clean_up(world, |rule| rule.spec.schedule = "0 9 * * *".to_owned());
    }),
];
