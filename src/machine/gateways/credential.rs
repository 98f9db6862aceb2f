//! The state of a gateway's credential, and the moment of its next reading. The secret itself never comes here.
//!
//! A credential is read when its gateway is first seen and after each edit; again at four fifths of the time that it is
//! good for; whenever an answer puts it in doubt; and while it is missing or refused, since its gateway's status says so:
//! every few seconds if a plan waits (R18), and else more and more seldom, after a while every five minutes.

use crate::machine::backoff::pause_of_looks;
use crate::machine::ids::{Epoch, SecretVersion};
use crate::machine::input::CredentialRead;
use crate::machine::limits::{
    BETWEEN_CHECKS, BETWEEN_RENEWALS, BETWEEN_TRIES, LOOK_FIRST, POLL_FIRST, POLL_MAX, REFUSED_LOGIN_PAUSE,
};
use crate::machine::time::Millis;

/// The state of the credential.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// The number of the credential in use; zero while there is none.
    pub epoch: Epoch,
    pub version: Option<SecretVersion>,
    /// The number of calls in a row that were answered as if it were no good.
    pub failures: u8,
    pub error: Option<CredentialError>,
    /// The reading that is under way.
    pub reading: Option<Epoch>,
    /// Another reading has become necessary meanwhile.
    pub(in crate::machine) again: bool,
    /// The Secret is to be read: it may have changed.
    pub(in crate::machine) check: bool,
    /// If the Secret has not changed, a login may be made anew.
    pub(in crate::machine) renew: bool,
    /// The moment at which a login was last made anew for that reason.
    pub(in crate::machine) renewed_at: Option<Millis>,
    /// The moment at which the last reading ended.
    pub(in crate::machine) read_at: Option<Millis>,
    /// The reading under way is to bring another token even if the Secret is the same: if it fails, it is tried again.
    pub(in crate::machine) insists: bool,
    /// The next reading, if anybody waits by then.
    pub(in crate::machine) poll_at: Option<Millis>,
    /// A new request is worth a reading from then on: sooner, if nobody has asked for a pause.
    pub(in crate::machine) worth_a_try_at: Millis,
    /// The next reading, if nobody waits by then.
    pub(in crate::machine) look_at: Option<Millis>,
    pub(in crate::machine) polls: u8,
    /// The next reading, whether or not anybody waits: the credential is about to expire.
    pub(in crate::machine) refresh_at: Option<Millis>,
    /// The last login that was refused: the version of its Secrets, and the moment.
    pub(in crate::machine) refused: Option<(SecretVersion, Millis)>,
    /// Until when the token in use is good by what the login has said; past once the gateway has refused it.
    pub(in crate::machine) good_until: Option<Millis>,
    /// The words of a login that was refused while the token in use was still good: they are told once it is not.
    pub(in crate::machine) untold: Option<String>,
}

/// The reason for which there is no credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialError {
    Missing(String),
    Invalid(String),
    Refused(String),
    Failed(String),
}

impl CredentialError {
    pub fn text(&self) -> &str {
        let (Self::Missing(text) | Self::Invalid(text) | Self::Refused(text) | Self::Failed(text)) = self;
        text
    }
}

/// The change that a reading brings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// There is a credential that was not there before.
    New,
    /// There is another token, by the same Secret.
    Renewed,
    /// Nothing that matters.
    None,
}

impl Credential {
    pub fn is_there(&self) -> bool {
        self.epoch != Epoch(0) && self.error.is_none()
    }

    /// There was one, and the Secret that it was made of is gone.
    pub fn has_lost_its_secret(&self) -> bool {
        self.epoch != Epoch(0) && matches!(self.error, Some(CredentialError::Missing(_)))
    }

    /// Nothing has been read yet.
    pub fn is_unread(&self) -> bool {
        self.epoch == Epoch(0) && self.error.is_none()
    }

    /// Begins a reading now, or as soon as the present one has ended.
    pub fn want(&mut self) {
        self.again = true;
    }

    /// Asks for the Secret to be read soon. `renew`: a login may be made anew.
    pub fn doubt(&mut self, renew: bool) {
        self.check = true;
        self.renew |= renew;
    }

    /// The moment at which a doubted Secret may be read: the reading must begin after the answer that it is for.
    fn check_at(&self) -> Option<Millis> {
        self.check.then(|| self.read_at.map_or(Millis(0), |at| at + BETWEEN_CHECKS))
    }

    /// Forgets the credential, since the gateway's object was edited: a token that was read before must not be sent to
    /// where the object may now point, and a reading under way is of the past. Only a login that was refused is
    /// remembered, for the account's sake.
    pub fn restart(&mut self) {
        let error = self.error.take().filter(|error| matches!(error, CredentialError::Refused(_)));
        let (refused, failures, renewed_at) = (self.refused.take(), self.failures, self.renewed_at);
        *self = Self { error, refused, failures, renewed_at, again: true, ..Self::default() };
    }

    /// Shortens the wait for a credential that is not there: a new request is worth a try.
    pub fn hurry_for_request(&mut self, now: Millis) {
        if self.error.is_some() {
            self.poll_at = self.poll_at.map(|at| at.min(self.worth_a_try_at.max(now)));
        }
    }

    /// Notes that a call made with this credential had an answer that only a valid one gets.
    pub fn proven(&mut self, epoch: Epoch) {
        if epoch == self.epoch {
            self.failures = 0;
        }
    }

    /// Notes that the gateway does not accept the credential in use (`surely`), or may not. A login is repeated even if
    /// the Secrets are the same; there can only be another token if its Secret has changed.
    pub fn rejected(&mut self, now: Millis, surely: bool) {
        self.failures = self.failures.saturating_add(1);
        self.polls = 0;
        self.poll_at = Some(now + POLL_FIRST);
        self.look_at = Some(now + LOOK_FIRST);
        self.again |= surely;
        if surely {
            self.good_until = self.good_until.map(|at| at.min(now));
            self.tell_if_over(now);
        }
        self.doubt(true);
    }

    /// Whether there is a token in use that neither has expired nor was refused.
    fn is_good(&self, now: Millis) -> bool {
        self.is_there() && self.good_until.is_some_and(|at| now < at)
    }

    /// The refusal that was held back counts once the token is over.
    fn tell_if_over(&mut self, now: Millis) {
        if !self.is_good(now)
            && let Some(why) = self.untold.take()
        {
            self.fail(CredentialError::Refused(why));
        }
    }

    /// Whether a reading shall begin now. `awaited`: a run waits for it. `doubted`: the gate is shut because of it.
    pub fn due(&self, now: Millis, awaited: bool, doubted: bool) -> bool {
        let is_time = self.due_at(awaited, doubted).is_some_and(|at| at <= now);
        self.reading.is_none() && (self.again || is_time)
    }

    /// The moment at which `due` may turn true by itself.
    pub fn due_at(&self, awaited: bool, doubted: bool) -> Option<Millis> {
        if self.reading.is_some() {
            return None;
        }
        let poll = if awaited { self.poll_at } else { self.look_at };
        let poll = poll.filter(|_| self.error.is_some() || doubted);
        [poll, self.refresh_at, self.check_at()].into_iter().flatten().min()
    }

    /// Begins a reading. Yields the version that is known to be of no use: nothing new can come of it.
    pub fn begin(
        &mut self,
        epoch: Epoch,
        now: Millis,
        is_login: bool,
        doubted: bool,
        awaited: bool,
    ) -> Option<SecretVersion> {
        let forced = std::mem::take(&mut self.again);
        let refreshing = self.refresh_at.is_some_and(|at| at <= now);
        if refreshing {
            self.refresh_at = None;
        }
        let checking = std::mem::take(&mut self.check);
        let paused = self.renewed_at.is_some_and(|at| now < at + BETWEEN_RENEWALS);
        let renewing = std::mem::take(&mut self.renew) && is_login && !paused;
        if renewing {
            self.renewed_at = Some(now);
        }
        self.insists = forced || refreshing;
        self.reading = Some(epoch);
        match &self.refused {
            // While nobody waits, a login that was refused is not made again: only another Secret is worth one.
            Some((version, at)) if now < *at + REFUSED_LOGIN_PAUSE || (!awaited && !forced) => {
                return Some(version.clone());
            }
            _ => {}
        }
        let repeat_login = is_login && (forced || refreshing || renewing);
        if (doubted || checking) && !repeat_login { self.version.clone() } else { None }
    }

    /// Takes in the end of a reading. A reply to any reading but the latest is of an earlier spec and means nothing.
    pub fn read(&mut self, epoch: Epoch, read: CredentialRead, now: Millis) -> Change {
        if self.reading != Some(epoch) {
            return Change::None;
        }
        self.reading = None;
        // A reading that was asked for meanwhile is for an answer that came after this one had begun: it is still to
        // come.
        self.read_at = Some(now);
        self.poll_at = Some(now + self.pause());
        self.worth_a_try_at = now + BETWEEN_TRIES;
        self.look_at = Some(now + pause_of_looks(self.polls));
        self.polls = self.polls.saturating_add(1);
        match read {
            CredentialRead::Have { version, good_for } => {
                let change =
                    if self.version.as_ref() == Some(&version) { Change::Renewed } else { Change::New };
                self.epoch = epoch;
                self.version = Some(version);
                self.error = None;
                self.refused = None;
                self.untold = None;
                self.good_until = good_for.map(|good_for| now + good_for);
                self.polls = 0;
                self.refresh_at = good_for.map(|good_for| now + Millis(good_for.0 / 5 * 4).max(POLL_FIRST));
                return change;
            }
            // The Secrets are there, even if one was missing for a while.
            CredentialRead::Unchanged if self.refused.is_none() => self.error = None,
            CredentialRead::Unchanged => self.tell_if_over(now),
            CredentialRead::Missing(text) => self.fail(CredentialError::Missing(text)),
            CredentialRead::Invalid(text) => self.fail(CredentialError::Invalid(text)),
            CredentialRead::Refused { version, why } => {
                self.refused = Some((version, now));
                if self.is_good(now) {
                    // It is looked at again when the token is over, not before: each try may be the one that locks
                    // the account.
                    self.refresh_at = self.good_until;
                    self.untold = Some(why);
                } else {
                    self.untold = None;
                    self.fail(CredentialError::Refused(why));
                }
            }
            CredentialRead::Failed { why, retry_after } => {
                let asked = retry_after.unwrap_or_default().min(REFUSED_LOGIN_PAUSE);
                self.poll_at = Some(now + self.pause().max(asked));
                self.worth_a_try_at = now + asked.max(BETWEEN_TRIES);
                // The credential in use may still be good: a refresh that failed is tried again, and calls go on.
                if self.epoch == Epoch(0) || self.error.is_some() {
                    self.fail(CredentialError::Failed(why));
                } else if self.insists {
                    self.refresh_at = self.poll_at;
                }
            }
        }
        Change::None
    }

    fn fail(&mut self, error: CredentialError) {
        self.error = Some(error);
    }

    fn pause(&self) -> Millis {
        Millis(POLL_FIRST.0 << self.polls.min(4)).min(POLL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::limits::LOOKS;

    fn have() -> CredentialRead {
        CredentialRead::Have { version: SecretVersion("1".to_owned()), good_for: None }
    }

    #[test]
    fn an_edited_gateway_has_no_credential_until_it_is_read_anew() {
        let mut credential = Credential::default();
        credential.want();
        assert_eq!(credential.begin(Epoch(1), Millis(0), false, false, true), None);
        assert_eq!(credential.read(Epoch(1), have(), Millis(1)), Change::New);
        credential.restart();
        assert!(!credential.is_there());
        assert!(credential.due(Millis(1), false, false));
    }

    #[test]
    fn a_secret_that_nobody_waits_for_is_looked_for_more_and_more_seldom() {
        let mut credential = Credential::default();
        credential.want();
        let (mut now, mut pauses) = (Millis(0), Vec::new());
        for epoch in 1..22 {
            credential.begin(Epoch(epoch), now, false, false, false);
            credential.read(Epoch(epoch), CredentialRead::Missing("no Secret".to_owned()), now);
            let next = credential.due_at(false, false).expect("it is looked for");
            assert!(credential.due_at(true, false).is_some_and(|at| at < next), "sooner if somebody waits");
            pauses.push((next.0 - now.0) / 1000);
            now = next;
        }
        let (growing, rest) = pauses.split_at(4);
        let (first, later) = rest.split_at(usize::from(LOOKS) - 4);
        assert_eq!(growing, [5, 10, 20, 40]);
        assert!(first.iter().all(|pause| *pause == 60), "{pauses:?}");
        assert!(later.iter().all(|pause| *pause == 300), "{pauses:?}");
    }

    #[test]
    fn a_new_request_is_worth_a_reading_unless_a_pause_was_asked_for() {
        for (retry_after, asked, expected) in
            [(None, 5_000, 5_000), (None, 100, 1_000), (Some(60_000), 5_000, 60_000)]
        {
            let mut credential = Credential { polls: 4, ..Credential::default() };
            credential.begin(Epoch(1), Millis(0), true, false, true);
            let retry_after = retry_after.map(Millis);
            credential.read(
                Epoch(1),
                CredentialRead::Failed { why: "no".to_owned(), retry_after },
                Millis(0),
            );
            credential.hurry_for_request(Millis(asked));
            assert_eq!(credential.due_at(true, false), Some(Millis(expected)), "{retry_after:?} {asked}");
        }
    }

    #[test]
    fn a_refused_login_that_nobody_waits_for_is_not_made_again_by_itself() {
        let mut credential = Credential::default();
        credential.begin(Epoch(1), Millis(0), true, false, true);
        credential.read(Epoch(1), refusal(), Millis(0));
        let later = Millis(3_600_000);
        assert_eq!(
            credential.begin(Epoch(2), later, true, false, false),
            Some(SecretVersion("1".to_owned()))
        );
        credential.read(Epoch(2), CredentialRead::Unchanged, later);
        assert!(!credential.is_there());
        assert_eq!(credential.begin(Epoch(3), later, true, false, true), None, "somebody waits");
    }

    #[test]
    fn a_reading_from_before_an_edit_means_nothing() {
        let mut credential = Credential::default();
        credential.begin(Epoch(1), Millis(0), false, false, true);
        credential.restart();
        assert_eq!(credential.read(Epoch(1), have(), Millis(1)), Change::None);
        assert!(!credential.is_there());
        credential.begin(Epoch(2), Millis(1), false, false, true);
        assert_eq!(credential.read(Epoch(1), have(), Millis(2)), Change::None);
        assert_eq!(credential.read(Epoch(2), have(), Millis(3)), Change::New);
    }

    #[test]
    fn what_is_there_again_is_no_longer_missing() {
        let mut credential = Credential::default();
        credential.begin(Epoch(1), Millis(0), false, false, true);
        credential.read(Epoch(1), have(), Millis(0));
        for read in [CredentialRead::Missing("no Secret".to_owned()), CredentialRead::Unchanged] {
            let there = read == CredentialRead::Unchanged;
            credential.begin(Epoch(2), Millis(0), false, true, true);
            credential.read(Epoch(2), read, Millis(0));
            assert_eq!(credential.is_there(), there);
        }
    }

    fn login() -> CredentialRead {
        CredentialRead::Have { version: SecretVersion("1".to_owned()), good_for: Some(Millis(60_000)) }
    }

    fn refusal() -> CredentialRead {
        CredentialRead::Refused { version: SecretVersion("1".to_owned()), why: "no".to_owned() }
    }

    /// A token of a minute whose refresh, after 48 s, was refused.
    fn refused_refresh() -> Credential {
        let mut credential = Credential::default();
        credential.want();
        credential.begin(Epoch(1), Millis(0), true, false, true);
        credential.read(Epoch(1), login(), Millis(0));
        assert!(credential.due(Millis(48_000), false, false));
        assert_eq!(credential.begin(Epoch(2), Millis(48_000), true, false, true), None);
        assert_eq!(credential.read(Epoch(2), refusal(), Millis(48_000)), Change::None);
        credential
    }

    #[test]
    fn a_token_outlives_the_refusal_of_its_refresh_until_it_expires() {
        let mut credential = refused_refresh();
        assert!(credential.is_there() && credential.epoch == Epoch(1));
        assert!(!credential.due(Millis(59_999), true, false), "the same login is not tried again");
        assert_eq!(credential.due_at(false, false), Some(Millis(60_000)));
        let known = credential.begin(Epoch(3), Millis(60_000), true, false, true);
        assert_eq!(known, Some(SecretVersion("1".to_owned())), "the Secret is looked at, and nothing more");
        credential.read(Epoch(3), CredentialRead::Unchanged, Millis(60_000));
        assert_eq!(credential.error, Some(CredentialError::Refused("no".to_owned())));
    }

    #[test]
    fn a_token_outlives_the_refusal_of_its_refresh_until_the_gateway_refuses_it() {
        let mut credential = refused_refresh();
        credential.rejected(Millis(50_000), false);
        assert!(credential.is_there(), "a 403 may have another cause");
        credential.rejected(Millis(51_000), true);
        assert_eq!(credential.error, Some(CredentialError::Refused("no".to_owned())));
    }

    #[test]
    fn a_token_that_the_gateway_has_refused_does_not_outlive_a_refused_login() {
        let mut credential = Credential::default();
        credential.begin(Epoch(1), Millis(0), true, false, true);
        credential.read(Epoch(1), login(), Millis(0));
        credential.rejected(Millis(1), true);
        credential.begin(Epoch(2), Millis(1), true, true, true);
        credential.read(Epoch(2), refusal(), Millis(2));
        assert!(!credential.is_there());
    }

    #[test]
    fn an_edit_does_not_try_a_refused_login_again_before_its_pause_is_over() {
        let mut credential = Credential::default();
        credential.begin(Epoch(1), Millis(0), true, false, true);
        let version = SecretVersion("1".to_owned());
        let refused = CredentialRead::Refused { version: version.clone(), why: "wrong password".to_owned() };
        credential.read(Epoch(1), refused, Millis(0));
        credential.restart();
        assert_eq!(credential.begin(Epoch(2), Millis(299_999), true, false, true), Some(version));
        credential.read(Epoch(2), CredentialRead::Unchanged, Millis(299_999));
        assert!(!credential.is_there() && credential.error.is_some());
        assert_eq!(credential.begin(Epoch(3), Millis(300_000), true, false, true), None);
    }
}
