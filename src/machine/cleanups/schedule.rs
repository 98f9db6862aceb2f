//! Schedules: cron expressions in a time zone, and the instants at which they fire.
//!
//! The search is that of robfig/cron 3, by which CronJob runs, step for step. So an hour that is skipped in spring fires
//! nothing, an hour that comes twice in autumn fires twice where the expression matches it twice, and a day whose midnight
//! does not exist begins at one. Only where robfig/cron would search for ever, on a day that a country has left out, this
//! search gives up. `instants.txt` holds what robfig/cron itself says around such changes; the program in
//! `tests/cron` has made it.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::machine::cleanups::cron::Cron;

/// A schedule that can fire.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// The reason for which there is no schedule, as a sentence for whoever wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ScheduleError {
    Invalid(String),
    UnknownTimeZone(String),
}

/// A search for the next instant: seconds since 1970, which only grow but for the beginning of a day, month or hour.
struct Search<'a> {
    zone: &'a TimeZone,
    at: i64,
    /// Smaller fields were set to their beginning.
    is_reset: bool,
    /// Steps that may still be taken.
    steps: u32,
}

/// Five years are some sixty months, of one of which each day, hour and minute is looked at, and that a few times over.
const STEPS_MAX: u32 = 10_000;

/// No instant is looked for beyond so many years.
const YEARS: i16 = 5;

// === impl Schedule ===

impl Schedule {
    /// `zone`: its name; UTC if there is none.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let cron = Cron::parse(text).map_err(ScheduleError::Invalid)?;
        let name = zone.unwrap_or("UTC");
        let unknown = || {
            ScheduleError::UnknownTimeZone(format!(
                "{name:?} is no time zone of the IANA database, such as Europe/Istanbul"
            ))
        };
        let zone = TimeZone::get(name).map_err(|_| unknown())?;
        Ok(Self { cron, zone })
    }

    /// The first instant after this one at which it fires; none if that is not within five years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut search =
            Search { zone: &self.zone, at: after.as_second() + 1, is_reset: false, steps: STEPS_MAX };
        let last_year = search.civil()?.year().checked_add(YEARS)?;
        while search.civil()?.year() <= last_year {
            // Whoever has gone on to another year, month, day or hour begins anew.
            let is_found = self.to_month(&mut search)?
                && self.to_day(&mut search)?
                && self.to_hour(&mut search)?
                && search.go_to_minute(self.cron)?;
            if is_found {
                return Timestamp::from_second(search.at).ok();
            }
        }
        None
    }

    /// The last instant after the first of these and not after the second; none if there is none.
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut last = None;
        let mut next = self.next(after);
        while let Some(at) = next.filter(|at| *at <= until) {
            last = Some(at);
            next = self.next(at);
        }
        last
    }

    fn to_month(&self, search: &mut Search<'_>) -> Option<bool> {
        while !self.cron.months.has(search.civil()?.month()) {
            search.reset(|now| now.date().first_of_month().at(0, 0, 0, 0))?;
            search.go_on(Span::new().months(1))?;
            if search.civil()?.month() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn to_day(&self, search: &mut Search<'_>) -> Option<bool> {
        while !self.is_day(search.civil()?.date()) {
            search.reset(|now| now.date().at(0, 0, 0, 0))?;
            search.go_on(Span::new().days(1))?;
            // A day without midnight begins at another hour.
            let hour = i64::from(search.civil()?.hour());
            match hour {
                0 => {}
                13.. => search.at += (24 - hour) * 3600,
                _ => search.at -= hour * 3600,
            }
            if search.civil()?.day() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Day of month and day of week are alternatives, unless one of them is a star.
    fn is_day(&self, date: Date) -> bool {
        let Cron { days, weekdays, .. } = self.cron;
        let (of_month, of_week) =
            (days.has(date.day()), weekdays.has(date.weekday().to_sunday_zero_offset()));
        if days.is_star || weekdays.is_star { of_month && of_week } else { of_month || of_week }
    }

    fn to_hour(&self, search: &mut Search<'_>) -> Option<bool> {
        while !self.cron.hours.has(search.civil()?.hour()) {
            search.reset(|now| now.date().at(now.hour(), 0, 0, 0))?;
            search.at += 3600;
            if search.civil()?.hour() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }
}

// === impl Search ===

impl Search<'_> {
    /// The local time; none once too many were asked for.
    fn civil(&mut self) -> Option<DateTime> {
        self.steps = self.steps.checked_sub(1)?;
        Some(self.zone.to_datetime(Timestamp::from_second(self.at).ok()?))
    }

    /// Goes to the instant of a local time. One that does not exist, or exists twice, is the instant that Go's
    /// `time.Date` takes for it.
    fn go_to(&mut self, local: DateTime) -> Option<()> {
        let as_utc = TimeZone::UTC.to_timestamp(local).ok()?.as_second();
        let offset = |at: i64| {
            let at = Timestamp::from_second(at).ok()?;
            Some(i64::from(self.zone.to_offset(at).seconds()))
        };
        self.at = as_utc - offset(as_utc - offset(as_utc)?)?;
        Some(())
    }

    /// Sets smaller fields to their beginning, once.
    fn reset(&mut self, beginning: impl Fn(DateTime) -> DateTime) -> Option<()> {
        if std::mem::replace(&mut self.is_reset, true) {
            return Some(());
        }
        let now = self.civil()?;
        self.go_to(beginning(now))
    }

    /// Goes on by months or days, to the same time of day.
    fn go_on(&mut self, span: Span) -> Option<()> {
        let now = self.civil()?;
        // A day that the month does not have runs over into the next one.
        let first = now.date().first_of_month().checked_add(Span::new().months(span.get_months())).ok()?;
        let days = i64::from(now.day()) - 1 + i64::from(span.get_days());
        let date = first.checked_add(Span::new().days(days)).ok()?;
        let time: Time = now.time();
        self.go_to(date.to_datetime(time))
    }

    fn go_to_minute(&mut self, cron: Cron) -> Option<bool> {
        while !cron.minutes.has(self.civil()?.minute()) {
            if !std::mem::replace(&mut self.is_reset, true) {
                self.at -= self.at.rem_euclid(60);
            }
            self.at += 60;
            if self.civil()?.minute() == 0 {
                return Some(false);
            }
        }
        let seconds = i64::from(self.civil()?.second());
        if seconds > 0 {
            self.is_reset = true;
            self.at += 60 - seconds;
        }
        Some(seconds == 0)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
