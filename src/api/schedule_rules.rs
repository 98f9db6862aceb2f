//! Validation rules of schedules and time zones, each of which says what to write instead.
//!
//! They refuse what CronJob refuses, and every form that CronJob does not know. A rule about one field holds only where
//! there are five of them, so that a wrong schedule is refused by its own sentence. What no rule can tell, such as a range
//! that ends before it begins, status tells.

use kube::core::Rule;

/// Whether the schedule has five fields.
const FIVE: &str = r"self.matches('^\\s*\\S+(\\s+\\S+){4}\\s*$')";

pub(super) fn no_zone() -> Rule {
    Rule::new("!self.contains('TZ')")
        .message("TZ= and CRON_TZ= are not taken here: write the time zone's name in timeZone")
}

pub(super) fn known_name() -> Rule {
    Rule::new(
        "!self.startsWith('@') || self in ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually']",
    )
    .message(
        "write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually, or five fields; @every and @reboot are \
         not known",
    )
}

pub(super) fn five_fields() -> Rule {
    Rule::new(format!("self.startsWith('@') || self.contains('TZ') || {FIVE}")).message(
        "write five fields (minute, hour, day of month, month, day of week), such as '0 22 * * 1-5': seconds and years are \
         not known",
    )
}

pub(super) fn minute() -> Rule {
    field(0, "[*]", "[0-5]?[0-9]", "[1-5]?[0-9]")
        .message("the first field, the minute, is 0 to 59: such as 5, 0-30, */15 or 0,30")
}

pub(super) fn hour() -> Rule {
    field(1, "[*]", "([01]?[0-9]|2[0-3])", "[12]?[0-9]")
        .message("the second field, the hour, is 0 to 23: such as 22, 8-18 or */6")
}

pub(super) fn day_of_month() -> Rule {
    field(2, "[*?]", "(0?[1-9]|[12][0-9]|3[01])", "([12]?[0-9]|3[01])")
        .message("the third field, the day of month, is 1 to 31: such as 1, 1-7 or */2")
}

pub(super) fn month() -> Rule {
    let names = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec";
    field(3, "[*]", &format!("(0?[1-9]|1[0-2]|{names})"), "(1[0-2]|[0-9])")
        .message("the fourth field, the month, is 1 to 12 or jan to dec")
}

pub(super) fn day_of_week() -> Rule {
    field(4, "[*?]", "([0-6]|sun|mon|tue|wed|thu|fri|sat)", "[0-7]").message(
        "the fifth field, the day of week, is 0 (Sunday) to 6 or sun to sat: such as 1-5 or mon-fri; Sunday is 0, not 7, as \
         in a CronJob",
    )
}

pub(super) fn step() -> Rule {
    Rule::new(r"self.startsWith('@') || !self.matches('[0-9*?a-zA-Z]/0+(,|\\s|$)')")
        .message("a step of 0 never comes: write 1 or more after /")
}

pub(super) fn not_local() -> Rule {
    Rule::new("self != 'Local'").message(
        "write a time zone's name, such as Europe/Istanbul or Etc/UTC: Local would depend on where the operator runs",
    )
}

pub(super) fn zone_name() -> Rule {
    Rule::new("self == 'Local' || self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$')")
        .message("write a time zone's name, such as Europe/Istanbul or Etc/UTC, without +03:00 and the like")
}

/// The rule of one of the five fields: a list of ranges, each with a step.
fn field(index: usize, all: &str, value: &str, step: &str) -> Rule {
    let range = format!("({all}|{value}(-{value})?)(/{step})?");
    let before = r"\\S+\\s+".repeat(index);
    let end = if index == 4 { r"\\s*$" } else { r"\\s" };
    let matches = format!(r"self.matches('(?i)^\\s*{before}{range}(,{range})*{end}')");
    Rule::new(format!("!{FIVE} || self.contains('TZ') || {matches}"))
}
