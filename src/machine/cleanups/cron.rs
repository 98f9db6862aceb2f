//! Cron expressions, as CronJob reads them: five fields, or a name such as `@hourly`.
//!
//! CronJob reads its schedules with robfig/cron, whose meaning is kept here to the letter: `*/2` in a field of days makes
//! it an ordinary field (so that day of month and day of week are alternatives), `5/15` means from 5 on, and Sunday is 0
//! alone. No crate has this meaning together with that of [`schedule`](super::schedule): the well-kept ones take Sunday
//! as 7, `L`, `#` and `W`, and have opinions of their own on both daylight-saving changes. A list of instants that
//! robfig/cron itself has made proves that the two agree.

/// A schedule without a time zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cron {
    pub minutes: Set,
    pub hours: Set,
    pub days: Set,
    pub months: Set,
    pub weekdays: Set,
}

/// The values that a field allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Set {
    bits: u64,
    /// It was written as a star or a question mark without a step: it says nothing of its own.
    pub is_star: bool,
}

/// A field of an expression.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "first field, the minute,", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "second field, the hour,", min: 0, max: 23, names: &[] };
const DAY: Field = Field { name: "third field, the day of month,", min: 1, max: 31, names: &[] };
const MONTH: Field = Field {
    name: "fourth field, the month,",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Field = Field {
    name: "fifth field, the day of week,",
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

// === impl Set ===

impl Set {
    pub fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| value < 64 && self.bits & (1 << value) != 0)
    }
}

// === impl Cron ===

impl Cron {
    /// Reads an expression. The error is a sentence for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written = text.trim();
        let text = match written {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            name if name.starts_with('@') => return Err(format!("{name:?} is no schedule that is known")),
            other => other,
        };
        if text.contains("TZ=") {
            return Err("the time zone belongs into spec.timeZone".to_owned());
        }
        let fields: Vec<_> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("a schedule has five fields, and this one has {}", fields.len()));
        };
        Ok(Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays: WEEKDAY.parse(weekday)?,
        })
    }
}

// === impl Field ===

impl Field {
    fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = Set { bits: 0, is_star: false };
        for range in text.split(',') {
            let read = self.range(range);
            let Set { bits, is_star } = read.map_err(|why| format!("the {} {why}: {text:?}", self.name))?;
            set = Set { bits: set.bits | bits, is_star: set.is_star || is_star };
        }
        Ok(set)
    }

    /// One part of a list: a value, a range or a star, with or without a step.
    fn range(&self, text: &str) -> Result<Set, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).ok_or("has a step that is no number")?)),
            None => (text, None),
        };
        let (first, last, is_star) = match range.split_once('-') {
            None if range == "*" || range == "?" => (self.min, self.max, true),
            None => {
                let value = self.value(range)?;
                // "5/15" means from 5 on.
                (value, if step.is_some() { self.max } else { value }, false)
            }
            Some((first, last)) => (self.value(first)?, self.value(last)?, false),
        };
        if first > last {
            return Err("has a range that ends before it begins".to_owned());
        }
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err("has a step of 0, which never comes".to_owned());
        }
        let values = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        Ok(Set { bits: values.map(|value| 1 << value).sum(), is_star: is_star && step == 1 })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(place) => u32::try_from(place).ok().map(|place| place + self.min),
            None => number(text),
        };
        let value = value.ok_or("has a value that is not known")?;
        if (self.min..=self.max).contains(&value) {
            Ok(value)
        } else {
            Err(format!("goes from {} to {}", self.min, self.max))
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(set: Set) -> Vec<i8> {
        (0..64).filter(|value| set.has(*value)).collect()
    }

    #[test]
    fn a_field_allows_what_robfig_says() {
        let rows: &[(&str, &[i8], bool)] = &[
            ("*", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], true),
            ("?", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], true),
            ("*/1", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], true),
            ("*/5", &[1, 6, 11], false),
            ("3", &[3], false),
            ("03", &[3], false),
            ("9/2", &[9, 11], false),
            ("2-5", &[2, 3, 4, 5], false),
            ("2-7/3", &[2, 5], false),
            ("Jan,mar-APR", &[1, 3, 4], false),
            ("*,3", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], true),
            ("12/40", &[12], false),
        ];
        for (text, expected, is_star) in rows {
            let set = MONTH.parse(text).expect(text);
            assert_eq!((values(set).as_slice(), set.is_star), (*expected, *is_star), "{text}");
        }
    }

    #[test]
    fn a_wrong_expression_is_refused_with_a_sentence() {
        for (text, why) in [
            ("", "five fields, and this one has 0"),
            ("0 0 * *", "five fields, and this one has 4"),
            ("0 0 0 * * *", "five fields, and this one has 6"),
            ("@every 5m", "no schedule that is known"),
            ("@reboot", "no schedule that is known"),
            ("TZ=UTC 0 0 * * *", "belongs into spec.timeZone"),
            ("60 0 * * *", "the first field, the minute, goes from 0 to 59: \"60\""),
            ("0 24 * * *", "the second field, the hour, goes from 0 to 23"),
            ("0 0 0 * *", "the third field, the day of month, goes from 1 to 31"),
            ("0 0 * 13 *", "the fourth field, the month, goes from 1 to 12"),
            ("0 0 * * 7", "the fifth field, the day of week, goes from 0 to 6"),
            ("0 0 L * *", "has a value that is not known"),
            ("0 0 * * 1#2", "has a value that is not known"),
            ("5-1 0 * * *", "has a range that ends before it begins"),
            ("*-5 0 * * *", "has a value that is not known"),
            ("*/0 0 * * *", "has a step of 0"),
            ("*/x 0 * * *", "has a step that is no number"),
            ("1,,2 0 * * *", "has a value that is not known"),
            ("+5 0 * * *", "has a value that is not known"),
            ("1-2-3 0 * * *", "has a value that is not known"),
        ] {
            let error = Cron::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names_stand_for_their_expressions() {
        for (name, text) in [
            ("@hourly", "0 * * * *"),
            ("@daily", "0 0 * * *"),
            ("@midnight", "0 0 * * *"),
            ("@weekly", "0 0 * * sun"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 jan ?"),
        ] {
            assert_eq!(Cron::parse(name), Cron::parse(text), "{name}");
        }
    }
}
