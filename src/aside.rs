//! Work on bytes that strangers have chosen, without holding up everything else.
//!
//! One thread does all of the operator's work, so work that takes longer than a moment delays the Lease, the probes and
//! every namespace. Small work is done at once, since handing it over costs more than doing it; large work is done by
//! another thread, a few pieces at a time, so that the processor is shared as well.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The work panicked. That is a bug, and the log has it; the caller goes on without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// The most bytes that are worked on at once: the slowest work of all, on the worst bytes, takes less than a
/// millisecond for them.
const AT_ONCE_BYTES_MAX: usize = 8 * 1024;

/// The least size of large work, which waits behind other large work only; smaller work does not wait for it.
const LARGE_BYTES_MIN: usize = 128 * 1024;

static SMALLER: Semaphore = Semaphore::const_new(2);
static LARGE: Semaphore = Semaphore::const_new(1);

/// Does some work on so many bytes. A panic of it is contained.
pub async fn work<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    // The closure is dropped with everything that a panic leaves behind.
    let contained = move || catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked);
    if bytes <= AT_ONCE_BYTES_MAX {
        return contained();
    }
    let turn = if bytes < LARGE_BYTES_MIN { &SMALLER } else { &LARGE };
    // Nobody closes them, and without a turn the work would only be done sooner.
    let turn = turn.acquire().await.ok();
    let done = spawn_blocking(move || {
        let done = contained();
        // The thread keeps the permit, not the caller: work that nobody waits for any more goes on all the same.
        drop(turn);
        done
    });
    done.await.unwrap_or(Err(Panicked))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn large_work_is_done_by_another_thread() {
        let here = thread::current().id();
        for (bytes, at_once) in [(0, true), (8 << 10, true), (9 << 10, false), (1 << 20, false)] {
            let there = work(bytes, || thread::current().id()).await.expect("it does not panic");
            assert_eq!(there == here, at_once, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_contained() {
        for bytes in [0, 1 << 20] {
            assert_eq!(work(bytes, || panic!("of the test")).await.map(|()| 0), Err(Panicked), "{bytes}");
        }
    }

    #[tokio::test]
    async fn small_work_is_done_while_large_work_is_under_way() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let large = tokio::spawn(work(1 << 20, move || held.recv().is_ok()));
        while LARGE.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for bytes in [0, 100 << 10] {
            assert_eq!(work(bytes, || 614).await, Ok(614));
        }
        release.send(()).expect("it is waited for");
        assert_eq!(large.await.expect("the task ends"), Ok(true));
    }
}
