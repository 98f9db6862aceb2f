//! Which fields of objects decide what can happen next.
//!
//! The machine compares whole specs of gateways to tell an edit, so all of a spec counts.

use super::{Canonical, Sink, fields};
use crate::api::{
    Auth, Batching, BearerToken, CaKind, CaRef, Condition, GatewayRef, GatewayUsed, Limits, PasswordGrant,
    PlanStatus, Retry, SecretKeyRef, SecretRef, StopStatus, TestPlanRunSpec, TestPlanRunStatus,
    TestiniumGatewaySpec, TestiniumGatewayStatus, Tls,
};
use crate::machine::checks::world::reference::requests::deadline_of;
use crate::machine::{FieldSet, GatewayKey, GatewayView, Key, ObjectKey, RunKey, RunView, Target};

fields!(Key { namespace, name });

impl Canonical for RunKey {
    fn canonical(&self, sink: &mut Sink) {
        (**self).canonical(sink);
    }
}

impl Canonical for GatewayKey {
    fn canonical(&self, sink: &mut Sink) {
        (**self).canonical(sink);
    }
}

impl Canonical for ObjectKey {
    fn canonical(&self, sink: &mut Sink) {
        (self.kind(), &**self).canonical(sink);
    }
}

fields!(Target { key, uid, version });

impl Canonical for RunView {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            key,
            uid,
            version,
            generation,
            stop_annotation,
            retry_annotation,
            cleanup_annotation,
            // It goes into status for people.
            requested_by: _,
            reconcile_annotation,
            restored,
            // No run of a model has a TTL.
            keep_until: _,
            deleted,
            finalizers,
            marks: _,
            created,
            written,
            spec,
            status,
            stopped_set,
            annotation_set,
            gateway_set,
            plans_set,
            retry_set,
            deadline_set,
            cleanup_set,
            policy_set,
        } = self;
        (deleted, (finalizers, policy_set)).canonical(sink);
        (key, (uid, (*version, *generation))).canonical(sink);
        (stop_annotation, (retry_annotation, (cleanup_annotation, reconcile_annotation))).canonical(sink);
        (restored, (created, written)).canonical(sink);
        (spec, status).canonical(sink);
        // The time of its creation may be long past when its deadline is not.
        sink.deadline(deadline_of(self));
        (stopped_set, (annotation_set, gateway_set)).canonical(sink);
        (plans_set, (retry_set, (deadline_set, cleanup_set))).canonical(sink);
    }
}

fields!(FieldSet { time } but {
    // It is named to people; whether two managers differ decides on an event only.
    manager,
});

fields!(TestPlanRunSpec { plans, stopped, gateway_ref, active_deadline_seconds, stop_deadline_seconds, deletion_policy } but {
    // It goes into status for people.
    reason,
    // No run of a model has one.
    ttl_seconds_after_finished,
});

fields!(GatewayRef { name });

fields!(TestPlanRunStatus { observed_generation, plans, stop, conditions } but {
    // It is the time of the object, or of the first look at it, and is compared for restored objects only.
    start_time,
    // It is counted from the plans.
    summary,
});

fields!(PlanStatus { id, outcome, reason, request_time } but {
    // A text for people.
    message,
});

fields!(Condition { type_, status, reason, observed_generation } but {
    // A text for people.
    message,
    // It is carried over for people.
    last_transition_time,
});

impl Canonical for StopStatus {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            trigger,
            request_time,
            // Three texts for people.
            requested_by: _,
            field_manager: _,
            reason: _,
            gateway,
            attempts,
            completion_time,
            // A text for people; that there is one decides on an event only.
            ttl_skipped: _,
            withdrawn_time,
            // A name for people; whether two managers differ decides on an event only.
            withdrawn_by: _,
            observed_stopped,
            observed_request,
            observed_retry,
            observed_cleanup,
            observed_restore,
            observed_deadline,
            // When it was first seen decides how long it is held.
            observed_deletion,
            // A text for people; that there is one decides on an event only.
            deletion_skipped: _,
            request,
            last_handled_request,
            last_handled_retry,
        } = self;
        (trigger, (request_time, gateway)).canonical(sink);
        sink.count(attempts.unwrap_or_default());
        // Whether there is such a time decides, but not which one.
        (completion_time.is_some(), withdrawn_time.is_some()).canonical(sink);
        (observed_stopped, (observed_request, (observed_retry, observed_restore))).canonical(sink);
        sink.deadline(observed_deadline.as_ref().map(|time| time.0));
        (observed_cleanup, observed_deletion).canonical(sink);
        (request, (last_handled_request, last_handled_retry)).canonical(sink);
    }
}

fields!(GatewayUsed { name });

fields!(GatewayView { key, uid, version, generation, reconcile_annotation, spec, status });

fields!(TestiniumGatewaySpec {
    url,
    allow_plain_http,
    auth,
    company_id,
    tls,
    batching,
    limits,
    timeout_seconds,
    retry,
    suspend,
});

fields!(Auth { bearer_token, password });
fields!(BearerToken { secret_ref });
fields!(SecretKeyRef { name, key });
fields!(PasswordGrant { token_url, secret_ref, scope });
fields!(SecretRef { name });
fields!(Tls { ca_ref, client_certificate_ref });
fields!(CaRef { kind, name, key });
fields!(Batching { max_plans, window_milliseconds });
fields!(Limits { requests_per_second, max_in_flight });
fields!(Retry { initial_delay_seconds, max_delay_seconds });
fields!(TestiniumGatewayStatus { observed_generation, conditions });

impl Canonical for CaKind {
    fn canonical(&self, sink: &mut Sink) {
        sink.plain(match self {
            Self::Secret => 0,
            Self::ConfigMap => 1,
        });
    }
}
