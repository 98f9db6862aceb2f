//! `TestPlanCleanup`: a rule that stops or deletes runs when its schedule fires.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{Condition, schedule_rules};

/// Which runs are cleaned up, when, and what becomes of them.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "testinium.io",
    version = "v1alpha1",
    kind = "TestPlanCleanup",
    plural = "testplancleanups",
    shortname = "tpc",
    category = "testinium",
    namespaced,
    status = "TestPlanCleanupStatus",
    doc = "A TestPlanCleanup stops or deletes the runs of its namespace that it selects, when its schedule fires.",
    printcolumn = r#"{"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule",
        "description": "When it runs"}"#,
    printcolumn = r#"{"name": "Time Zone", "type": "string", "jsonPath": ".spec.timeZone",
        "description": "Of the schedule", "priority": 1}"#,
    printcolumn = r#"{"name": "Action", "type": "string", "jsonPath": ".spec.action",
        "description": "What becomes of the selected runs"}"#,
    printcolumn = r#"{"name": "Dry Run", "type": "boolean", "jsonPath": ".spec.dryRun",
        "description": "Whether it only says what it would do"}"#,
    printcolumn = r#"{"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend",
        "description": "Whether it is held"}"#,
    printcolumn = r#"{"name": "Last Schedule", "type": "date", "jsonPath": ".status.lastScheduleTime",
        "description": "When its schedule last fired"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether it can run"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message",
        "description": "Why, in a sentence", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the rule was created"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TestPlanCleanupSpec {
    /// When it runs, in the five fields of cron (minute, hour, day of month, month, day of week), or @hourly, @daily,
    /// @midnight, @weekly, @monthly, @yearly or @annually. The meaning is that of a CronJob's schedule. Schedules that
    /// were missed run once, not once each.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(
        validation = schedule_rules::no_zone(),
        validation = schedule_rules::known_name(),
        validation = schedule_rules::five_fields(),
        validation = schedule_rules::minute(),
        validation = schedule_rules::hour(),
        validation = schedule_rules::day_of_month(),
        validation = schedule_rules::month(),
        validation = schedule_rules::day_of_week(),
        validation = schedule_rules::step()
    )]
    pub schedule: String,
    /// Name of the time zone of the schedule, such as Europe/Istanbul; UTC if absent. A name that is not known is told
    /// in status.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = schedule_rules::not_local(), validation = schedule_rules::zone_name())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Which runs of the namespace, by their labels. It must not be empty.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub selector: RunSelector,
    /// Only runs that were created at least this many seconds before the scheduled time: 0 to 31536000 (a year), 0 if
    /// absent.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<i64>,
    /// What becomes of the selected runs. Stop: their plans are stopped. Delete: those are deleted of which every plan
    /// was stopped. StopThenDelete: plans are stopped, and runs are deleted of which an earlier time has stopped every
    /// plan. Runs that Flux, Argo CD, Helm, an applyset or a controller would create again are never deleted.
    pub action: CleanupAction,
    /// True: only say in status what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Most runs that are stopped or deleted at one time: 1 to 10000, 100 if absent. The rest waits for the next time.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_run: Option<i64>,
    /// True: schedules that fire meanwhile are skipped, and are not made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Seconds by which a schedule may be late, such as after an outage; a later one is skipped: 10 to 86400, 600 if
    /// absent.
    #[schemars(range(min = 10, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// Why, in at most 256 characters. The event of each run that is stopped or deleted tells it.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which runs, by their labels. It must not be empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.?matchLabels.orValue({}).size() + self.?matchExpressions.orValue([]).size() > 0")
    .message("an empty selector would select every run of the namespace: name a label, or write matchExpressions with \
              Exists"))]
pub struct RunSelector {
    /// Labels and their values.
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(
        validation = Rule::new("self.all(k, !format.qualifiedName().validate(k).hasValue())")
            .message("write labels' names, such as load or team.example.com/load"),
        validation = Rule::new("self.all(k, !format.labelValue().validate(self[k]).hasValue())")
            .message("write labels' values: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a \
                      letter or digit")
    )]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels, all of which must hold.
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on a label.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (self.?values.orValue([]).size() > 0)")
    .message("In and NotIn need values; Exists and DoesNotExist take none"))]
pub struct LabelRequirement {
    /// Name of the label.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = Rule::new("!format.qualifiedName().validate(self).hasValue()")
        .message("write a label's name, such as load or team.example.com/load"))]
    pub key: String,
    /// How the label stands to the values: In (it has one of them), NotIn (it has none of them, or is absent), Exists or
    /// DoesNotExist.
    pub operator: LabelOperator,
    /// Values; needed by In and NotIn, not allowed for the others.
    #[schemars(length(max = 64), extend("items" = {
        "type": "string", "maxLength": 63, "description": "A value of the label.",
        "x-kubernetes-validations": [{
            "rule": "!format.labelValue().validate(self).hasValue()",
            "message": "write a label's value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        }]
    }))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How the label stands to the values: In (it has one of them), NotIn (it has none of them, or is absent), Exists or
/// DoesNotExist.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// What becomes of the selected runs: Stop, Delete or StopThenDelete.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize, VariantArray,
)]
pub enum CleanupAction {
    /// Their plans are stopped.
    Stop,
    /// Those are deleted of which every plan was stopped.
    Delete,
    /// Plans are stopped, and runs are deleted of which an earlier time has stopped every plan.
    StopThenDelete,
}

/// The state of the rule, and what it did last.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Until the operator has written something, kstatus must not call an unseen object Current.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct TestPlanCleanupStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last scheduled time for which it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// The next scheduled time; absent while it is suspended or can't run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Scheduled times up to this one that have not run are skipped: they were missed, or it was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_until: Option<Time>,
    /// Value of the annotation testinium.io/run-now as last seen: another value runs it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_run_now: Option<String>,
    /// What it did last, or is doing.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<CleanupRun>,
    /// Ready, and Stalled while it matters.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What a rule did at one time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupRun {
    /// The scheduled time, or the time at which it was told to run at once. The ages of runs count from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// When it was done; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// True: nothing was changed, and the figures say what would have been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Runs with the selected labels that are old enough, whether there was anything to do or not.
    #[serde(default)]
    pub matched: i64,
    /// Runs whose stop it has asked for.
    #[serde(default)]
    pub stopped: i64,
    /// Runs that it has deleted.
    #[serde(default)]
    pub deleted: i64,
    /// Runs that it has left alone although there was something to do: they are to be kept, share a plan with such a
    /// run, would be created again, or can't be read.
    #[serde(default)]
    pub spared: i64,
    /// Runs that could not be written.
    #[serde(default)]
    pub failed: i64,
    /// Names of the first ten runs that it has stopped or deleted.
    #[schemars(extend("items" = {"type": "string", "description": "Name of a run."}))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Names of the first ten runs that it has left alone, each with the reason.
    #[schemars(extend("items" = {"type": "string", "description": "Name of a run, and the reason."}))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared_names: Vec<String>,
    /// What went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
