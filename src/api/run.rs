//! `TestPlanRun`: the plans of a run, and whether they shall be stopped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{Condition, rules};

/// The test plans that the run covers, and whether they shall be stopped.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "testinium.io",
    version = "v1alpha1",
    kind = "TestPlanRun",
    plural = "testplanruns",
    shortname = "tpr",
    category = "testinium",
    namespaced,
    status = "TestPlanRunStatus",
    doc = "A TestPlanRun names the Testinium test plans of one run. Setting spec.stopped to true stops them.",
    selectable = ".spec.stopped",
    selectable = ".spec.gatewayRef.name",
    printcolumn = r#"{"name": "Plans", "type": "string", "jsonPath": ".status.summary",
        "description": "Stopped plans of all plans"}"#,
    printcolumn = r#"{"name": "Stopped", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Stopped\")].status",
        "description": "Whether every plan is stopped"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Stopped\")].reason",
        "description": "Why"}"#,
    printcolumn = r#"{"name": "Gateway", "type": "string", "jsonPath": ".spec.gatewayRef.name",
        "description": "Where the plans are stopped", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Stopped\")].message",
        "description": "Why, in a sentence", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the run was created"}"#
)]
#[serde(rename_all = "camelCase")]
// An absent `stopped` after a true one counts as still true, since a removed field withdraws nothing. The name is never
// absent here, for its default is filled in before the rule is asked.
#[x_kube(validation = Rule::new(
    "self.gatewayRef.name == oldSelf.gatewayRef.name || !oldSelf.?stopped.orValue(false) || !self.?stopped.orValue(true)")
    .message("gatewayRef can't change while stopped is true, because the same ids are other plans elsewhere: \
              set stopped to false in the same change, or create another TestPlanRun for the other gateway")
    .field_path(".gatewayRef"))]
pub struct TestPlanRunSpec {
    /// Ids of the test plans of this run, 1 to 1000 of them. An id given twice counts once. An id that is added while
    /// stopped is true, or while a stop is under way, is stopped too.
    #[schemars(length(min = 1, max = 1000), inner(range(min = 1, max = 9_007_199_254_740_991_i64)))]
    // A set would merge the ids of several field managers into one list that nobody wrote.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub plans: Vec<i64>,
    /// True: the plans shall be stopped. The stop happens once: a plan that is started again at Testinium is not
    /// stopped by a standing true, and the operator never learns that a plan has ended by itself, so delete the run when
    /// its test is over. A change to true stops every plan anew. A change to false takes back what was not sent yet. To
    /// remove the field takes nothing back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<bool>,
    /// Why the plans shall be stopped, in at most 256 characters. Kept in status and events.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The gateway to stop the plans at. It can't change while stopped is true; a change takes back any other stop.
    // A default in the schema, so that field selectors and printer columns find it.
    #[schemars(extend("default" = {}))]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ref: Option<GatewayRef>,
    /// Seconds after the creation of this object at which the plans are stopped, whatever stopped says: 1 to 31536000 (a
    /// year); absent, there is no such deadline. It counts from creationTimestamp, whether an operator is there or not,
    /// so a deadline that is added to an old run stops it at once. Each deadline stops once, and leaves plans alone that
    /// are stopped or being stopped. A deadline that is raised into the future takes back the stop of the earlier one;
    /// to remove the field takes nothing back.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after which a stop that could not be delivered is given up as Expired: 1 to 604800 (a week), 3600 if
    /// absent. Plan ids are reused, so a late stop could hit another execution.
    #[schemars(range(min = 1, max = 604_800))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_deadline_seconds: Option<i64>,
    /// Seconds after which this object is deleted once every plan of its stop has its outcome: 0 to 31536000 (a year);
    /// absent, it is never deleted. It counts from status.stop.completionTime. A run whose stop was taken back stays, and
    /// so does one that Flux, Argo CD, Helm or another tool would create again (status.stop.ttlSkipped names what tells),
    /// and one with the annotation testinium.io/keep-until until that time.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
    /// What becomes of the plans when this object is deleted: Orphan (nothing; so it is if absent) or Stop (they are
    /// stopped first). With Stop, the operator puts the finalizer testinium.io/stop on this object, and takes it off once
    /// every plan has its outcome, at once if nothing can be sent, and 300 seconds after it has seen the deletion at the
    /// latest. Plans that are stopped or being stopped are not asked for again. Orphan ends the wait of an object that is
    /// being deleted. It is in effect where the operator may patch runs in all namespaces (status.stop.deletionSkipped
    /// tells if it is not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What becomes of the plans when this object is deleted: Orphan (nothing; so it is if absent) or Stop (they are
/// stopped first). With Stop, the operator puts the finalizer testinium.io/stop on this object, and takes it off once
/// every plan has its outcome, at once if nothing can be sent, and 300 seconds after it has seen the deletion at the
/// latest. Plans that are stopped or being stopped are not asked for again. Orphan ends the wait of an object that is
/// being deleted. It is in effect where the operator may patch runs in all namespaces (status.stop.deletionSkipped
/// tells if it is not).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// They go on.
    Orphan,
    /// They are stopped before the object goes.
    Stop,
}

/// The TestiniumGateway that is used, one of the run's namespace.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Name of the TestiniumGateway in the namespace of the run; "default" if absent.
    #[schemars(length(min = 1, max = 253), extend("default" = "default"))]
    #[x_kube(validation = rules::object_name())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The state of the stop, as the operator has found it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Until the operator has written something, kstatus must not call an unseen object Current.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct TestPlanRunStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the run began: the creationTimestamp of this object, whether an operator was there or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// The plans that are stopped (Accepted or NotRunning), of all plans, such as 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The outcome of each plan.
    // One owner writes it whole; tracking a thousand items one by one would only grow managedFields.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanStatus>,
    /// The last stop that was asked for.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopStatus>,
    /// The state of the run: Ready, Stopped, and while they matter Reconciling or Stalled. Scripts wait for Stopped.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The outcome of one plan, with its reasons.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Id of the plan.
    pub id: i64,
    /// The outcome: Pending (not answered yet), Accepted (the gateway took the stop), NotRunning (there was
    /// nothing to stop), Rejected (the gateway refused this id; it is asked again only when a stop is asked for again),
    /// Unknown (the answer could not be understood, or the id was sent, not answered and then withdrawn), Expired (the
    /// deadline passed before the stop was delivered, or before it was answered) or Withdrawn (before it was sent).
    pub outcome: Outcome,
    /// One word that says why, where the outcome is not a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The gateway's words, in at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the stop of this plan was asked for, where that was later than the stop of the run: the plan was added to
    /// the run since, or is asked for again. Its deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_time: Option<Time>,
}

/// The outcome of a plan.
#[derive(
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    IntoStaticStr,
    JsonSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
    VariantArray,
)]
pub enum Outcome {
    /// Not answered yet.
    Pending,
    /// The gateway took the stop.
    Accepted,
    /// The plan was not running.
    NotRunning,
    /// The gateway refused this id. It is asked again only when a stop is asked for again.
    Rejected,
    /// The answer could not be understood, or the id was sent, not answered and then withdrawn.
    Unknown,
    /// The deadline passed before the stop was delivered, or before it was answered.
    Expired,
    /// The stop was withdrawn before it was sent.
    Withdrawn,
}

/// A stop: who asked for it, where it went, how far it got.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StopStatus {
    /// The source of the request for the stop: Spec (spec.stopped), Annotation (testinium.io/stop), Deadline
    /// (spec.activeDeadlineSeconds), Cleanup (a TestPlanCleanup, by testinium.io/cleanup) or Deletion (of this object,
    /// with spec.deletionPolicy Stop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// When the stop was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_time: Option<Time>,
    /// The user who asked, where the requester policy is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// The field manager that asked, such as kubectl-patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_manager: Option<String>,
    /// spec.reason at that time, the value of the annotation that asked, or the cleanup rule and its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The gateway that the stop went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayUsed>,
    /// The most calls that any plan of this run needed so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// When the last plan was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What keeps this object from being deleted although spec.ttlSecondsAfterFinished says so: the mark of a tool that
    /// would create it again, or an annotation testinium.io/keep-until that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_skipped: Option<String>,
    /// When the stop was taken back; absent while it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_time: Option<Time>,
    /// The field manager that took the stop back, such as kubectl-patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<String>,
    /// spec.stopped as last seen, absent if it was absent: a change to true is a new stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_stopped: Option<bool>,
    /// Value of the annotation testinium.io/stop as last seen, absent if it was absent: another value is a new stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_request: Option<String>,
    /// Value of the annotation testinium.io/retry as last seen, absent if it was absent: another value asks again for the
    /// plans that this stop has not stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_retry: Option<String>,
    /// Value of the annotation testinium.io/cleanup as last seen, absent if it was absent: another value asks for the
    /// plans that this stop has not stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_cleanup: Option<String>,
    /// Value of the label velero.io/restore-name as last seen: another value means that the run was restored from a
    /// backup, and that what it carries is of the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_restore: Option<String>,
    /// The latest deadline of this run (creationTimestamp plus spec.activeDeadlineSeconds) that has passed, whether or not
    /// anything was left to stop: only a later one stops again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_deadline: Option<Time>,
    /// When the operator first saw that this object is being deleted and is to be held until its plans are stopped: a
    /// deletion asks once, and holds the object for 300 seconds from then on at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_deletion: Option<Time>,
    /// Why spec.deletionPolicy Stop is not in effect: the plans go on if this object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_skipped: Option<String>,
    /// Value of the annotation testinium.io/stop that this stop answers, even if the annotation is gone meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Value of the annotation testinium.io/stop whose stop is complete. Wait for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
    /// The last value of the annotation testinium.io/retry of which every plan has its outcome, even if the annotation is
    /// gone. A script that asks again waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_retry: Option<String>,
}

/// The source of the request for the stop: Spec (spec.stopped), Annotation (testinium.io/stop), Deadline
/// (spec.activeDeadlineSeconds), Cleanup (a TestPlanCleanup, by testinium.io/cleanup) or Deletion (of this object, with
/// spec.deletionPolicy Stop).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Trigger {
    /// spec.stopped.
    Spec,
    /// The annotation testinium.io/stop.
    Annotation,
    /// spec.activeDeadlineSeconds.
    Deadline,
    /// The annotation testinium.io/cleanup, by which a TestPlanCleanup asks.
    Cleanup,
    /// The deletion of the object, with spec.deletionPolicy Stop.
    Deletion,
}

/// The TestiniumGateway that a stop went to.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayUsed {
    /// Name of the gateway.
    pub name: String,
}
