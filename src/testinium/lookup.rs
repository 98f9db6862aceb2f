//! Looking up names: as every program here does it (getaddrinfo), but so that a name server that does not answer holds
//! up nobody who does not need it.
//!
//! Such a lookup can't be ended: its thread waits for as long as the system's resolver does, which may be a minute. So a
//! name has one lookup under way at a time, for all who ask for it; one that takes longer than a second leaves its place
//! to others; and names that were slow before share a few threads of their own, however many they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The longest that anybody waits for a lookup. It is less than the connect timeout, so that a dead name server is told
/// from a dead gateway; more than 5 s, so that a resolver with its default timeout gets to its second name server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Up to here a lookup is quick. Name servers that work answer within a tenth of it.
const QUICK: Duration = Duration::from_secs(1);

/// Quick lookups under way at a time.
const QUICK_MAX: usize = 64;

/// Lookups under way at a time of names that were slow before. They do little more than wait for a dead name server.
const SLOW_MAX: usize = 16;

/// Threads that look names up, those included that nobody waits for any more: half of what the runtime has.
const THREADS_MAX: usize = 256;

/// Names that are remembered to have been slow. A tenant can make up any number of them.
const SLOW_NAMES_MAX: usize = 1024;

/// How a name is looked up.
type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// How it ended; nothing as long as it is under way. An error's text, since everybody who waits gets it.
type Found = Option<Result<Arc<[IpAddr]>, String>>;

/// All lookups of the process.
#[derive(Debug)]
pub struct Lookups {
    lookup: Lookup,
    names: Mutex<Names>,
    quick: Semaphore,
    slow: Semaphore,
    threads: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Names {
    under_way: BTreeMap<String, watch::Receiver<Found>>,
    /// Those whose last lookup was not quick.
    slow: BTreeSet<String>,
}

// === impl Lookups ===

impl Default for Lookups {
    fn default() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.map(|found| found.ip()).collect()))
    }
}

impl Lookups {
    fn by(lookup: Lookup) -> Self {
        Self {
            lookup,
            names: Mutex::default(),
            quick: Semaphore::const_new(QUICK_MAX),
            slow: Semaphore::const_new(SLOW_MAX),
            threads: Arc::new(Semaphore::const_new(THREADS_MAX)),
        }
    }

    /// The addresses of a host, at least one, with port 0.
    pub async fn addresses(self: &Arc<Self>, host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut under_way = self.join(host);
        // The lookup's own end drops nothing but what it has told.
        let found = match timeout(LOOKUP_TIMEOUT, under_way.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => found.clone().unwrap_or_else(|| Err("the lookup was given up".to_owned())),
            Ok(Err(_)) => Err("the lookup was given up".to_owned()),
            Err(_) => Err(format!("no name server answered within {LOOKUP_TIMEOUT:?}")),
        };
        match found {
            Ok(addresses) if addresses.is_empty() => Err(io::Error::other("the name has no address")),
            Ok(addresses) => Ok(addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect()),
            Err(why) => Err(io::Error::other(why)),
        }
    }

    /// Joins the lookup of a name, or begins it.
    fn join(self: &Arc<Self>, host: &str) -> watch::Receiver<Found> {
        let mut names = self.names();
        if let Some(under_way) = names.under_way.get(host) {
            return under_way.clone();
        }
        let (tell, under_way) = watch::channel(None);
        names.under_way.insert(host.to_owned(), under_way.clone());
        let was_slow = names.slow.contains(host);
        drop(names);
        let (lookups, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            let found = lookups.look_up(&host, was_slow).await;
            lookups.names().under_way.remove(&host);
            // Nobody may wait any more.
            let _ = tell.send(Some(found));
        });
        under_way
    }

    async fn look_up(&self, host: &str, was_slow: bool) -> Result<Arc<[IpAddr]>, String> {
        let places = if was_slow { &self.slow } else { &self.quick };
        // Nobody closes them.
        let place = places.acquire().await.map_err(|error| error.to_string())?;
        let thread = self.threads.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let (lookup, name) = (self.lookup, host.to_owned());
        let mut looking = spawn_blocking(move || {
            let found = lookup(&name);
            drop(thread);
            found
        });
        let found = match timeout(QUICK, &mut looking).await {
            Ok(found) => {
                self.names().slow.remove(host);
                found
            }
            Err(_) => {
                self.names().note_slow(host);
                let place = Some(place).filter(|_| was_slow);
                let found = looking.await;
                drop(place);
                found
            }
        };
        match found {
            Ok(Ok(addresses)) => Ok(addresses.into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // No holder can leave the names half changed.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Names ===

impl Names {
    fn note_slow(&mut self, host: &str) {
        if self.slow.len() >= SLOW_NAMES_MAX {
            self.slow.pop_first();
        }
        self.slow.insert(host.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, PoisonError};

    use super::*;

    static DEAD: AtomicUsize = AtomicUsize::new(0);
    static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// Names that begin with "dead" are not answered before they are released.
    fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("dead") {
            DEAD.fetch_add(1, Ordering::Relaxed);
            let released = RELEASED.0.lock().unwrap_or_else(PoisonError::into_inner);
            drop(RELEASED.1.wait_while(released, |released| !*released));
        }
        Ok(vec![[10, 0, 0, 1].into()])
    }

    /// The runtime waits for its threads at its end, so they are released however the test ends.
    struct Release;

    impl Drop for Release {
        fn drop(&mut self) {
            *RELEASED.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            RELEASED.1.notify_all();
        }
    }

    fn ask(lookups: &Arc<Lookups>, name: String) -> tokio::task::JoinHandle<io::Result<Vec<SocketAddr>>> {
        let lookups = lookups.clone();
        tokio::spawn(async move { lookups.addresses(&name).await })
    }

    async fn wait_for_threads(count: usize) {
        let begun = std::time::Instant::now();
        while DEAD.load(Ordering::Relaxed) < count && begun.elapsed() < Duration::from_secs(10) {
            tokio::task::yield_now().await;
        }
        assert_eq!(DEAD.load(Ordering::Relaxed), count);
    }

    /// The clock stands still while a thread looks a name up, and is set forward by hand.
    #[tokio::test(start_paused = true)]
    async fn names_at_a_dead_name_server_hold_up_no_others() {
        let lookups = Arc::new(Lookups::by(look_up));
        let release = Release;
        let alive = async || {
            let found = timeout(LOOKUP_TIMEOUT, lookups.addresses("alive")).await;
            let found = found.expect("it has a place").expect("it is answered");
            assert_eq!(found, [SocketAddr::from(([10, 0, 0, 1], 0))]);
        };
        // One name has one thread, however often it is asked for.
        let mut waiting: Vec<_> = (0..100).map(|_| ask(&lookups, "dead".to_owned())).collect();
        wait_for_threads(1).await;
        alive().await;
        // Many have places for a second.
        waiting.extend((1..QUICK_MAX + 10).map(|number| ask(&lookups, format!("dead-{number}"))));
        wait_for_threads(QUICK_MAX).await;
        tokio::time::advance(QUICK + Duration::from_millis(1)).await;
        wait_for_threads(QUICK_MAX + 10).await;
        alive().await;
        tokio::time::advance(LOOKUP_TIMEOUT).await;
        for lookup in waiting {
            let error = lookup.await.expect("no panic").expect_err("nobody answers");
            assert!(error.to_string().contains("no name server answered"), "{error}");
        }
        // Those that were slow before take nobody's place.
        for number in 0..500 {
            lookups.names().note_slow(&format!("dead-again-{number}"));
        }
        let waiting: Vec<_> = (0..500).map(|number| ask(&lookups, format!("dead-again-{number}"))).collect();
        wait_for_threads(QUICK_MAX + 10 + SLOW_MAX).await;
        alive().await;
        assert!(lookups.names().slow.contains("dead"));

        drop(release);
        for lookup in waiting {
            assert!(lookup.await.expect("no panic").is_ok());
        }
        assert!(lookups.addresses("dead").await.is_ok());
        assert!(!lookups.names().slow.contains("dead"), "it is quick again");
    }

    #[test]
    fn a_tenant_that_makes_names_up_fills_no_memory() {
        let lookups = Lookups::by(look_up);
        (0..10_000).for_each(|number| lookups.names().note_slow(&format!("name-{number}")));
        assert_eq!(lookups.names().slow.len(), SLOW_NAMES_MAX);
    }
}
