//! What is known of a gateway, and how it comes to be known while nobody waits.
//!
//! A trouble that a call met is of the past once nobody waits for the gateway: only another call can tell whether it is
//! over, and its status says so. If it was that no connection could be made, a connection is opened from time to time,
//! and closed without a request. That shows no more than that: the gate stays shut, and the next plan is still a probe.

use crate::machine::answer::NoAnswer;
use crate::machine::effect::Effect;
use crate::machine::gateways::claim::{Claim, Knowledge, Said};
use crate::machine::gateways::gate::{Gate, Shut};
use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::verdict::{Trouble, lost};
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::input::Reached;
use crate::machine::time::Millis;
use crate::machine::wait_reason::{Cause, Waiting};

// === impl Gateway ===

impl Gateway {
    /// What is known of the gateway, for its own status. What the status said before this term stays until a call or a
    /// reading of this term shows something else. `is_listed`: the runs that may wait for it are known.
    pub fn knowledge<'a>(&'a self, unknown: WaitCause<'a>, is_listed: bool) -> Knowledge<'a> {
        let inherited = self.published.inherited.as_deref();
        let is_past = is_listed && !self.is_wanted();
        match self.wait_cause(unknown) {
            Some(WaitCause::Shut(_)) if is_past && self.is_over() => self.answers(),
            Some(cause @ WaitCause::Shut(_)) if is_past && !self.can_be_looked_at() => Knowledge::Past(cause),
            Some(cause) => Knowledge::Waits(cause),
            None if self.credential.is_unread() => {
                inherited.map_or(Knowledge::BeingRead, Knowledge::Inherited)
            }
            None if self.proven => Knowledge::Proven,
            None => match inherited.filter(|said| !said.is_about_credential(&self.key.name)) {
                None => Knowledge::NotTried,
                Some(said) if is_past && !self.can_be_looked_at() => Knowledge::PastInherited(said),
                // Somebody waits again, and the call that will tell is under way or about to begin.
                Some(Said { claim: Claim::Past(_), .. }) if self.is_wanted() => Knowledge::NotTried,
                Some(said) => Knowledge::Inherited(said),
            },
        }
    }

    /// Whether a look has shown that the trouble is over. Behind TLS an open connection shows too little: who accepts it
    /// need not be Testinium.
    fn is_over(&self) -> bool {
        let is_tls = self.settings.as_ref().is_none_or(|settings| !settings.origin.starts_with("http:"));
        self.look.last == Some(Reached::Opened) && !is_tls
    }

    /// What its answers have shown so far.
    fn answers(&self) -> Knowledge<'_> {
        if self.proven { Knowledge::Proven } else { Knowledge::NotTried }
    }

    /// Whether its trouble is that no connection can be made, which can be tried without a call.
    fn can_be_looked_at(&self) -> bool {
        let is_unconnected = match (&self.gate, &self.published.inherited) {
            (Gate::Shut(shut), _) => WaitCause::Shut(shut).cause().is_of_no_connection(),
            (Gate::Open, Some(said)) => said.claim.cause().is_some_and(Cause::is_of_no_connection),
            (Gate::Open, None) => false,
        };
        is_unconnected && !matches!(self.look.last, Some(Reached::Opened | Reached::NotKnown))
    }

    /// The moment at which a connection is to be tried, since nobody waits whose call would do so.
    pub fn look_at(&self) -> Option<Millis> {
        let (_, settings) = self.object()?;
        let may_look = self.credential.is_there() && !settings.is_suspended && !self.is_wanted();
        self.look.due_at().filter(|_| may_look && self.can_be_looked_at())
    }

    /// Tries a connection if that is due. `last_look`: the number of the latest look at any gateway.
    pub fn try_connection(&mut self, last_look: &mut u32, now: Millis, out: &mut Vec<Effect>) {
        if self.look_at().is_some_and(|at| at <= now) {
            *last_look += 1;
            let number = *last_look;
            self.look.begin(number);
            out.push(Effect::TryConnection {
                gateway: self.key.clone(),
                credential: self.credential.epoch,
                number,
            });
        }
    }

    /// Takes in the end of a try to open a connection. It opens no gate: only a call shows that calls are answered.
    pub fn connection_tried(&mut self, number: u32, reached: Reached, now: Millis) {
        if !self.look.end(number, reached, now) {
            return;
        }
        match reached {
            Reached::Opened => {
                self.gate.hurry(now);
                if self.is_over() {
                    self.published.inherited = None;
                }
            }
            Reached::NotOpened(why) => self.look_failed(why, now),
            Reached::NotKnown => {}
        }
    }

    /// Takes in why a look has opened no connection. If that is another trouble than that none can be made, such as a
    /// name that leads elsewhere for a moment, what the call met stays.
    fn look_failed(&mut self, why: NoAnswer, now: Millis) {
        let Trouble { kind, text, .. } = lost(why);
        let found = Shut { kind, text, until: now, worth_a_try_at: now, failures: 0, probe: None };
        let Waiting { cause, message } = WaitCause::Shut(&found).in_words(&self.key);
        if !cause.is_of_no_connection() {
            return;
        }
        if let Gate::Shut(shut) = &mut self.gate {
            (shut.kind, shut.text) = (found.kind, found.text);
        } else if let Some(said) = &mut self.published.inherited {
            **said = Said { claim: Claim::Waits(cause), message };
        }
    }
}
