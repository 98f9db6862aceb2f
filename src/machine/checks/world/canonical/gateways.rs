//! Which parts of the machine's gateways decide what can happen next.

use super::{Canonical, LONG_PAST, Sink, Sort, fields};
use crate::machine::call::{Member, Waiter};
use crate::machine::fair_queue::{Entries, FairQueue};
use crate::machine::gateways::claim::{Claim, Said};
use crate::machine::gateways::credential::{Credential, CredentialError};
use crate::machine::gateways::gate::{Gate, Shut};
use crate::machine::gateways::gateway::{Gateway, Remembered};
use crate::machine::gateways::held::Held;
use crate::machine::gateways::look::Look;
use crate::machine::gateways::origin::{Origin, Origins};
use crate::machine::gateways::queue::{Position, Queue, Waiting};
use crate::machine::gateways::rate::Rate;
use crate::machine::gateways::readings::Readings;
use crate::machine::gateways::settle::Call;
use crate::machine::gateways::status::{Lasting, Published, Told};
use crate::machine::gateways::suspects::{Search, SuspectHistory, Suspects};
use crate::machine::gateways::verdict::Parts;
use crate::machine::gateways::{Gateways, Unreadable};
use crate::machine::limits::LOOKS;
use crate::machine::wait_reason::Cause;
use crate::machine::*;

fields!(Gateways { by_key, origins, calls, readings, unreadable, lists, may_call, ending, touched, unpublished, queued } but {
    // Each gateway knows its own.
    deleting,
    // Each gateway knows its timer.
    timers,
    // The same in all states of one model, as is the seed.
    guards,
    seed,
    // Calls and looks are numbered as they turn up.
    next_call,
    last_look,
});

fields!(Readings { in_flight, waiting } but {
    // Credentials are numbered as they turn up.
    next_epoch,
});

impl Canonical for Unreadable {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            uid,
            // For people.
            why: _,
            listed_in,
        } = self;
        uid.canonical(sink);
        sink.sorted(Sort::List, u64::from(*listed_in));
    }
}

impl Canonical for Origins {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            by_name,
            // Each origin knows its timer.
            timers: _,
            // The same in all states of one model.
            limits: _,
            // An origin that has just begun a call is looked at once more by the next input, which changes nothing.
            touched: _,
        } = self;
        by_name.canonical(sink);
    }
}

impl Canonical for Origin {
    fn canonical(&self, sink: &mut Sink) {
        // Readiness, calls under way and timer should follow from the gateways. They count, so that a stale one is found.
        let Self { members, in_flight, probes_in_flight, open, shut, rate, timer } = self;
        (members, (in_flight, *probes_in_flight)).canonical(sink);
        (open, (shut, (rate, *timer))).canonical(sink);
    }
}

impl Canonical for Rate {
    fn canonical(&self, sink: &mut Sink) {
        let Self { paid_until } = self;
        sink.plain((paid_until + LONG_PAST * 1000).saturating_sub(sink.now * 1000));
    }
}

impl<T: Canonical> Canonical for Entries<T> {
    fn canonical(&self, sink: &mut Sink) {
        let Self { waiting, last } = self;
        (waiting, last).canonical(sink);
    }
}

impl<L: Canonical, T: Canonical> Canonical for FairQueue<L, T> {
    fn canonical(&self, sink: &mut Sink) {
        // How many wait is private, and follows from the lanes.
        let Self { lanes, last_served, .. } = self;
        (lanes, last_served).canonical(sink);
    }
}

fields!(Remembered { view, until });

impl Canonical for Gateway {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            // It is what the gateway is known by.
            key: _,
            view,
            remembered,
            deleting,
            settings,
            listed_in,
            endpoint,
            credential,
            gate,
            seq,
            spoken,
            proven,
            last_served_call,
            calls,
            rate,
            last_start,
            queue,
            in_flight,
            held,
            sent_again,
            fresh_next,
            published,
            look,
            // These three should follow from the other fields. They count, so that a stale one is found.
            waits_for_reading,
            counted,
            status_at,
            timer,
        } = self;
        (*waits_for_reading, (*counted, (*status_at, *timer))).canonical(sink);
        (*calls, rate).canonical(sink);
        // The settings follow from the spec; the origin is kept when the object goes.
        (view, settings.as_ref().map(|settings| &settings.origin)).canonical(sink);
        (remembered, deleting).canonical(sink);
        credential.canonical(sink);
        sink.sorted(Sort::List, u64::from(*listed_in));
        sink.sorted(Sort::Move, u64::from(*seq));
        sink.sorted(Sort::Call, u64::from(*last_served_call));
        sink.sorted(Sort::Endpoint, endpoint.0);
        ((*spoken, *proven), (gate, *last_start)).canonical(sink);
        (queue, (in_flight, *fresh_next)).canonical(sink);
        (published, (held, sent_again)).canonical(sink);
        look.canonical(sink);
    }
}

impl Canonical for Held {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            call,
            endpoint,
            credential,
            // The answer in short is for people.
            gist: _,
            member,
            settled,
            not_by,
            ready,
        } = self;
        sink.sorted(Sort::Endpoint, endpoint.0);
        (*call, (*credential, *not_by)).canonical(sink);
        (member, (settled, *ready)).canonical(sink);
    }
}

impl Canonical for SecretVersion {
    fn canonical(&self, sink: &mut Sink) {
        let Self(version) = self;
        version.canonical(sink);
    }
}

impl Canonical for Call {
    fn canonical(&self, sink: &mut Sink) {
        let Self { gateway, origin, endpoint, credential, seq, members, suspects, is_probe } = self;
        (gateway, (origin, *is_probe)).canonical(sink);
        sink.sorted(Sort::Endpoint, endpoint.0);
        sink.sorted(Sort::Move, u64::from(*seq));
        (*credential, (members, *suspects)).canonical(sink);
    }
}

impl Canonical for Gate {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Open => sink.plain(0),
            Self::Shut(shut) => (1_i64, shut).canonical(sink),
        }
    }
}

impl Canonical for Shut {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            kind,
            // For people; the published cause has a digest of it.
            text: _,
            until,
            worth_a_try_at,
            failures,
            probe,
        } = self;
        (*kind, (*until, (*worth_a_try_at, *probe))).canonical(sink);
        sink.count(*failures);
    }
}

impl Canonical for Credential {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            epoch,
            version,
            failures,
            error,
            reading,
            again,
            check,
            renew,
            renewed_at,
            read_at,
            insists,
            poll_at,
            polls,
            worth_a_try_at,
            look_at,
            refresh_at,
            refused,
            good_until,
            untold,
        } = self;
        (*epoch, (version, error)).canonical(sink);
        sink.count(*failures);
        (*reading, (*again, (*check, *renew))).canonical(sink);
        (*renewed_at, (*read_at, *insists)).canonical(sink);
        // Pauses grow with the first four.
        (*poll_at, (*polls).min(LOOKS)).canonical(sink);
        (*look_at, *worth_a_try_at).canonical(sink);
        (*refresh_at, refused).canonical(sink);
        // The words themselves are for people.
        (*good_until, untold.is_some()).canonical(sink);
    }
}

impl Canonical for Look {
    fn canonical(&self, sink: &mut Sink) {
        let Self { under_way, at, in_a_row, last } = self;
        (under_way.is_some(), *at).canonical(sink);
        // Pauses grow with the first few.
        (*in_a_row).min(LOOKS).canonical(sink);
        sink.plain(match last {
            None => 0,
            Some(Reached::Opened) => 1,
            Some(Reached::NotKnown) => 2,
            Some(Reached::NotOpened(why)) => 3 + *why as u64,
        });
    }
}

impl Canonical for CredentialError {
    fn canonical(&self, sink: &mut Sink) {
        // The texts are for people; the published cause has a digest of them.
        sink.plain(match self {
            Self::Missing(_) => 0,
            Self::Invalid(_) => 1,
            Self::Refused(_) => 2,
            Self::Failed(_) => 3,
        });
    }
}

fields!(Published { cause, waiters_notified, claim, inherited, told, writing, not_before, texts, text_at });

fields!(Told { version, generation, claim, digest });

impl<T: Canonical> Canonical for Lasting<T> {
    fn canonical(&self, sink: &mut Sink) {
        let Self { value, since, reason_since } = self;
        (value, (*since, *reason_since)).canonical(sink);
    }
}

fields!(Cause { reason, text });

impl Canonical for Claim {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Waits(cause) => (0_i64, cause).canonical(sink),
            Self::Past(cause) => (1_i64, cause).canonical(sink),
            Self::BeingRead => sink.plain(2),
            Self::NotTried => sink.plain(3),
            Self::Proven => sink.plain(4),
        }
    }
}

fields!(Said { claim } but {
    // For people; the claim has a digest of what counts in it.
    message,
});

impl Canonical for Queue {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            plans,
            // Each plan knows its place; whose turn is next does the queue alone.
            fresh,
            suspects,
            search,
            // A later place is behind all that there are.
            serial: _,
        } = self;
        (plans, (suspects, fresh.last_served)).canonical(sink);
        let Search { good, bad, first } = search;
        [good, bad, first].into_iter().for_each(|count| sink.plain(*count as u64));
    }
}

impl Canonical for Member {
    fn canonical(&self, sink: &mut Sink) {
        let Self { plan, waiters } = self;
        (*plan, &waiters[..]).canonical(sink);
    }
}

fields!(Waiter { run, request_seq, lane });

impl Canonical for Waiting {
    fn canonical(&self, sink: &mut Sink) {
        let Self { position, waiters } = self;
        (*position, &waiters[..]).canonical(sink);
    }
}

impl Canonical for Suspects {
    fn canonical(&self, sink: &mut Sink) {
        let Self { serial, plans, history } = self;
        sink.sorted(Sort::Order, u64::from(*serial));
        (plans, *history).canonical(sink);
    }
}

impl Canonical for SuspectHistory {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            strikes,
            begun_before_strike,
            quarantined,
            forbidden,
            begun_before_forbidden,
            parts,
            pooled,
            other_half,
            home,
            not_before,
        } = self;
        // Three are enough to blame, and one more tells how a pause has grown.
        ((*strikes).min(4), (*forbidden).min(4)).canonical(sink);
        sink.sorted(Sort::Call, u64::from(*begun_before_strike));
        sink.sorted(Sort::Call, u64::from(*begun_before_forbidden));
        (*quarantined, (parts, *not_before)).canonical(sink);
        pooled.canonical(sink);
        for group in [other_half, home] {
            group.is_some().canonical(sink);
            group.iter().for_each(|group| sink.sorted(Sort::Order, u64::from(*group)));
        }
    }
}

impl Canonical for Parts {
    fn canonical(&self, sink: &mut Sink) {
        sink.plain(match self {
            Self::Halves => 0,
            Self::Several => 1,
            Self::Singles => 2,
        });
    }
}

impl Canonical for Position {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Fresh(lane, order) => {
                lane.canonical(sink);
                sink.sorted(Sort::Order, *order);
            }
            Self::Suspect(serial) => sink.sorted(Sort::Order, u64::from(*serial)),
            Self::InCall => sink.plain(0),
        }
    }
}
