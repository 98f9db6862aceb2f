//! Looking up names: as every program here does it (getaddrinfo), but so that a name server that does not answer holds
//! up nobody who does not need it.
//!
//! A lookup is two questions at a time, one for each family of addresses (see [`super::families`]). A question can't be
//! ended: its thread waits for as long as the system's resolver does, which may be a minute. So a question is under way
//! once at a time, for all who ask it; one that takes longer than a second leaves its place to others; and questions
//! that were slow before share a few threads of their own, however many they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::families::{Addresses, Answer, Answers, Choice, Family, MOMENT, ask};

/// The longest that anybody waits for a lookup. It is less than the connect timeout, so that a dead name server is told
/// from a dead gateway; more than 5 s, so that a resolver with its default timeout gets to its second name server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Up to here an answer is quick. Name servers that work answer within a tenth of it.
const QUICK: Duration = Duration::from_secs(1);

/// Quick questions under way at a time: two for each name.
const QUICK_MAX: usize = 128;

/// Questions under way at a time that were slow before. They do little more than wait for a dead name server.
const SLOW_MAX: usize = 32;

/// Threads that ask, those included that nobody waits for any more: three quarters of what the runtime has.
const THREADS_MAX: usize = 384;

/// Questions that are remembered to have been slow. A tenant can make up any number of them.
const SLOW_REMEMBERED_MAX: usize = 2048;

/// The way to ask for one family of a name.
type Ask = fn(&str, Family) -> io::Result<Addresses>;

/// A name, and the family of its addresses that is asked for.
type Question = (String, Family);

/// The answer to a question; nothing as long as it is under way.
type Told = watch::Receiver<Option<Answer>>;

/// All lookups of the process.
#[derive(Debug)]
pub struct Lookups {
    ask: Ask,
    questions: Mutex<Questions>,
    quick: Semaphore,
    slow: Semaphore,
    threads: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Questions {
    under_way: BTreeMap<Question, Told>,
    /// Those whose last answer was not quick.
    slow: BTreeSet<Question>,
}

// === impl Lookups ===

impl Default for Lookups {
    fn default() -> Self {
        Self::by(ask)
    }
}

impl Lookups {
    fn by(ask: Ask) -> Self {
        Self {
            ask,
            questions: Mutex::default(),
            quick: Semaphore::const_new(QUICK_MAX),
            slow: Semaphore::const_new(SLOW_MAX),
            threads: Arc::new(Semaphore::const_new(THREADS_MAX)),
        }
    }

    /// The addresses of a host, at least one, with port 0.
    pub async fn addresses(self: &Arc<Self>, host: &str) -> io::Result<Vec<SocketAddr>> {
        let found = self.look_up(host).await.map_err(io::Error::other)?;
        if found.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }

    async fn look_up(self: &Arc<Self>, host: &str) -> Result<Vec<IpAddr>, String> {
        let mut v6 = pin!(told(self.join(host, Family::V6)));
        let mut v4 = pin!(told(self.join(host, Family::V4)));
        let mut answers = Answers::default();
        let mut limit = Instant::now() + LOOKUP_TIMEOUT;
        loop {
            let meanwhile = match answers.choose() {
                Choice::Take(addresses) => return Ok(addresses),
                Choice::Fail(why) => return Err(why),
                Choice::Wait { a_moment, meanwhile } => {
                    if a_moment {
                        limit = limit.min(Instant::now() + MOMENT);
                    }
                    meanwhile
                }
            };
            tokio::select! {
                answer = &mut v6, if answers.v6.is_none() => answers.v6 = Some(answer),
                answer = &mut v4, if answers.v4.is_none() => answers.v4 = Some(answer),
                () = sleep_until(limit) => {
                    let nothing = || format!("no name server answered within {LOOKUP_TIMEOUT:?}");
                    return if meanwhile.is_empty() { Err(nothing()) } else { Ok(meanwhile) };
                }
            }
        }
    }

    /// Joins those who ask this question already, or asks it.
    fn join(self: &Arc<Self>, host: &str, family: Family) -> Told {
        let question = (host.to_owned(), family);
        let mut questions = self.questions();
        if let Some(under_way) = questions.under_way.get(&question) {
            return under_way.clone();
        }
        let (tell, under_way) = watch::channel(None);
        questions.under_way.insert(question.clone(), under_way.clone());
        let was_slow = questions.slow.contains(&question);
        drop(questions);
        let lookups = self.clone();
        tokio::spawn(async move {
            let answer = lookups.answer(&question, was_slow).await;
            lookups.questions().under_way.remove(&question);
            // Nobody may wait any more.
            let _ = tell.send(Some(answer));
        });
        under_way
    }

    async fn answer(&self, question: &Question, was_slow: bool) -> Answer {
        let places = if was_slow { &self.slow } else { &self.quick };
        // Nobody closes them.
        let place = places.acquire().await.map_err(|error| error.to_string())?;
        let thread = self.threads.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let (ask, (name, family)) = (self.ask, question.clone());
        let mut asking = spawn_blocking(move || {
            let found = ask(&name, family);
            drop(thread);
            found
        });
        let found = match timeout(QUICK, &mut asking).await {
            Ok(found) => {
                self.questions().slow.remove(question);
                found
            }
            Err(_) => {
                self.questions().note_slow(question);
                let place = Some(place).filter(|_| was_slow);
                let found = asking.await;
                drop(place);
                found
            }
        };
        match found {
            Ok(Ok(addresses)) => Ok(Arc::new(addresses)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        // No holder can leave them half changed.
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a question is answered.
async fn told(mut under_way: Told) -> Answer {
    // The question's own end drops nothing but what it has told.
    let answer = under_way.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
    answer.unwrap_or_else(|| Err("the lookup was given up".to_owned()))
}

// === impl Questions ===

impl Questions {
    fn note_slow(&mut self, question: &Question) {
        if self.slow.len() >= SLOW_REMEMBERED_MAX {
            self.slow.pop_first();
        }
        self.slow.insert(question.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, PoisonError};

    use super::*;

    /// Questions that are not answered before they are released.
    struct Held {
        asked: AtomicUsize,
        released: Mutex<bool>,
        changed: Condvar,
    }

    /// Names that begin with "dead".
    static DEAD: Held = Held::new();
    /// The AAAA of names that begin with "half".
    static HALF: Held = Held::new();

    impl Held {
        const fn new() -> Self {
            Self { asked: AtomicUsize::new(0), released: Mutex::new(false), changed: Condvar::new() }
        }

        fn ask(&self) {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.changed.wait_while(released, |released| !*released));
        }
    }

    /// The runtime waits for its threads at its end, so they are released however the test ends.
    struct Release(&'static Held);

    impl Drop for Release {
        fn drop(&mut self) {
            *self.0.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.0.changed.notify_all();
        }
    }

    const ALIVE: [u8; 4] = [10, 0, 0, 1];

    fn answer(name: &str, family: Family) -> io::Result<Addresses> {
        match (name, family) {
            _ if name.starts_with("dead") => DEAD.ask(),
            (_, Family::V6) if name.starts_with("half") => HALF.ask(),
            _ => {}
        }
        match family {
            Family::V6 => Err(io::Error::other("no address of this family")),
            Family::V4 => Ok(Addresses { all: vec![ALIVE.into()], is_routed: true }),
        }
    }

    fn ask_for(lookups: &Arc<Lookups>, name: String) -> tokio::task::JoinHandle<io::Result<Vec<SocketAddr>>> {
        let lookups = lookups.clone();
        tokio::spawn(async move { lookups.addresses(&name).await })
    }

    async fn wait_for_threads(count: usize) {
        let begun = std::time::Instant::now();
        while DEAD.asked.load(Ordering::Relaxed) < count && begun.elapsed() < Duration::from_secs(10) {
            tokio::task::yield_now().await;
        }
        assert_eq!(DEAD.asked.load(Ordering::Relaxed), count);
    }

    /// The clock stands still while a thread looks a name up, and is set forward by hand.
    #[tokio::test(start_paused = true)]
    async fn names_at_a_dead_name_server_hold_up_no_others() {
        let lookups = Arc::new(Lookups::by(answer));
        let release = Release(&DEAD);
        let alive = async || {
            let found = timeout(LOOKUP_TIMEOUT, lookups.addresses("alive")).await;
            let found = found.expect("it has a place").expect("it is answered");
            assert_eq!(found, [SocketAddr::from((ALIVE, 0))]);
        };
        // One name has one thread a family, however often it is asked for.
        let mut waiting: Vec<_> = (0..100).map(|_| ask_for(&lookups, "dead".to_owned())).collect();
        wait_for_threads(2).await;
        alive().await;
        // Many have places for a second.
        let names = QUICK_MAX / 2 + 10;
        waiting.extend((1..names).map(|number| ask_for(&lookups, format!("dead-{number}"))));
        wait_for_threads(QUICK_MAX).await;
        tokio::time::advance(QUICK + Duration::from_millis(1)).await;
        wait_for_threads(2 * names).await;
        alive().await;
        tokio::time::advance(LOOKUP_TIMEOUT).await;
        for lookup in waiting {
            let error = lookup.await.expect("no panic").expect_err("nobody answers");
            assert!(error.to_string().contains("no name server answered"), "{error}");
        }
        // Those that were slow before take nobody's place.
        let slow_again = |number: usize| format!("dead-again-{number}");
        for number in 0..500 {
            for family in [Family::V6, Family::V4] {
                lookups.questions().note_slow(&(slow_again(number), family));
            }
        }
        let waiting: Vec<_> = (0..500).map(|number| ask_for(&lookups, slow_again(number))).collect();
        wait_for_threads(2 * names + SLOW_MAX).await;
        alive().await;
        assert!(lookups.questions().slow.contains(&("dead".to_owned(), Family::V4)));

        drop(release);
        for lookup in waiting {
            assert!(lookup.await.expect("no panic").is_ok());
        }
        assert!(lookups.addresses("dead").await.is_ok());
        assert!(!lookups.questions().slow.contains(&("dead".to_owned(), Family::V4)), "it is quick again");
    }

    #[tokio::test]
    async fn an_aaaa_that_nobody_answers_is_waited_for_a_moment_by_one_thread() {
        let lookups = Arc::new(Lookups::by(answer));
        let _release = Release(&HALF);
        for _ in 0..3 {
            let begun = std::time::Instant::now();
            let found = lookups.addresses("half").await.expect("A is answered");
            assert_eq!(found, [SocketAddr::from((ALIVE, 0))]);
            let took = begun.elapsed();
            assert!(MOMENT <= took && took < LOOKUP_TIMEOUT / 2, "{took:?}");
        }
        assert_eq!(HALF.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_tenant_that_makes_names_up_fills_no_memory() {
        let lookups = Lookups::by(answer);
        for number in 0..10_000 {
            lookups.questions().note_slow(&(format!("name-{number}"), Family::V6));
        }
        assert_eq!(lookups.questions().slow.len(), SLOW_REMEMBERED_MAX);
    }
}
