//! The messages that people read, as the page on troubleshooting lists them: each is brought about in the world of the
//! tests, and its text is the machine's own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use strum::VariantArray;

use crate::api::{Condition, EventReason, condition, reason};
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, Options, World, gateway_key, run_key};
use crate::machine::gateways::credential::CredentialError;
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::{Extent, FieldSet, Input, Kind, ObjectKey, Version};

/// How a situation comes about.
type Act = fn(&mut World);

/// A situation in words, and how it comes about.
type Situation = (&'static str, Act);

const RUN: &str = "nightly";
const PLANS: &[i64] = &[614, 615];
/// A run of another plan.
const OTHER: &str = "weekly";

fn world() -> World {
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

fn unset(world: &mut World, manager: &str) {
    world.edit(RUN, |run| {
        run.spec.stopped = Some(false);
        run.stopped_set = set(manager);
    });
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

const RUNS: &[(&str, &[Situation])] = &[
    (
        "NotRequested",
        &[
            ("No stop was ever asked for.", |_| {}),
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

const GATEWAYS: &[(&str, &[Situation])] = &[
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
                let writes: Vec<_> =
                    world.ops.iter().filter(|(_, op)| op.is_write()).map(|(id, _)| *id).collect();
                writes.into_iter().for_each(|id| world.reply(id));
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

const EVENTS: &[(&str, Act)] = &[
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
];

/// Credentials whose trouble the machine is only told of: what exactly is wrong stands in the place in brackets.
fn credential_rows() -> Vec<(&'static str, &'static str, String)> {
    let missing = "[what is missing, in which Secret or ConfigMap]; to do so, run: [a command]";
    let errors = [
        (reason::SECRET_NOT_FOUND, "A Secret or a key is missing.", CredentialError::Missing(missing.into())),
        (
            reason::INVALID_CREDENTIAL,
            "A value can't be used.",
            CredentialError::Invalid("[what is wrong with which value, without the value]".into()),
        ),
        (
            reason::AUTHENTICATION_FAILED,
            "The token endpoint refuses the login.",
            CredentialError::Refused(
                "the token endpoint refused the login: [the published code of the refusal]; correct the Secret, and it \
                 is tried again"
                    .into(),
            ),
        ),
        (
            reason::UNREACHABLE,
            "The API server or the token endpoint fails.",
            CredentialError::Failed("[what could not be read or reached, and why]".into()),
        ),
    ];
    let in_words =
        |error: &CredentialError| WaitCause::Credential(error).in_words(&gateway_key("default")).message;
    errors.iter().map(|(reason, when, error)| (*reason, *when, in_words(error))).collect()
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> &'a Condition {
    conditions.iter().find(|other| other.type_ == type_).expect("the condition is there")
}

fn stopped(world: &World) -> Condition {
    find(&world.run(RUN).status.conditions, condition::STOPPED).clone()
}

fn ready(world: &World) -> Condition {
    find(&world.server.gateways[&gateway_key("default")].status.conditions, condition::READY).clone()
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn rows(situations: &[(&str, &[Situation])], look: fn(&World) -> Condition) -> Vec<(String, String, String)> {
    let each = situations.iter().flat_map(|(reason, each)| each.iter().map(move |one| (*reason, *one)));
    let row = |(reason, (when, act)): (&str, Situation)| {
        let mut world = world();
        act(&mut world);
        let Condition { reason: word, message, .. } = look(&world);
        assert_eq!(word, reason, "{when} {message}");
        (word, when.to_owned(), message)
    };
    each.map(row).collect()
}

fn table(first: &str, rows: impl IntoIterator<Item = (String, String, String)>) -> String {
    let head = format!("| {first} | when | message |\n|---|---|---|\n");
    let line = |(word, when, message): (String, String, String)| {
        format!("| `{word}` | {when} | {} |\n", cell(&message))
    };
    rows.into_iter().map(line).fold(head, |table, line| table + &line)
}

fn listed() -> String {
    let mut of_runs = rows(RUNS, stopped);
    let others =
        credential_rows().into_iter().map(|(word, when, text)| (word.to_owned(), when.to_owned(), text));
    of_runs.extend(others);
    let place = |word: &str| reason::OF_STOPPED.iter().position(|other| *other == word);
    of_runs.sort_by_key(|(word, ..)| place(word));
    let told: std::collections::BTreeSet<_> = of_runs.iter().map(|(word, ..)| word.as_str()).collect();
    assert_eq!(told.len(), reason::OF_STOPPED.len(), "each reason has its message");
    let events = EVENTS.iter().map(|(word, act)| {
        let mut world = world();
        act(&mut world);
        let event = world.trace.events.iter().rfind(|event| event.reason.as_str() == *word);
        let event = event.unwrap_or_else(|| panic!("{word} is not told: {:?}", world.trace.events));
        let type_ = if event.warning { "Warning" } else { "Normal" };
        ((*word).to_owned(), type_.to_owned(), event.message.clone())
    });
    let events: Vec<_> = events.collect();
    let words: Vec<_> = EventReason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(events.iter().map(|(word, ..)| word.as_str()).collect::<Vec<_>>(), words);
    let runs = table("`Stopped` of a run", of_runs);
    let gateways = table("`Ready` of a gateway", rows(GATEWAYS, ready));
    let events = table("event", events).replacen("| when |", "| type |", 1);
    format!("{runs}\n{gateways}\n{events}")
}

const BEGIN: &str = "<!-- messages: made by UPDATE_DOCS=1 cargo test --lib machine::checks::messages -->\n";
const END: &str = "<!-- end of messages -->";

#[test]
fn the_page_lists_every_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");
    #[allow(clippy::disallowed_methods, reason = "a page is no input of the machine")]
    let (page, updates) = (std::fs::read_to_string(path), std::env::var_os("UPDATE_DOCS").is_some());
    let page = page.expect("the page can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark");
    let (_, after) = rest.split_once(END).expect("the page has the other mark");
    let new = format!("{before}{BEGIN}\n{}\n{END}{after}", listed());
    if updates {
        #[allow(clippy::disallowed_methods, reason = "a page is no output of the machine")]
        std::fs::write(path, new).expect("the page can be written");
        return;
    }
    assert_eq!(page, new, "UPDATE_DOCS=1 cargo test --lib machine::checks::messages would mend it");
}
