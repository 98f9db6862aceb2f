//! Another try for what may pass: an API server that is restarted must not fail an uninstallation.

use std::time::Duration;

use tokio::time::sleep;

use crate::kubernetes::Failure;

/// The tries of one request, with half a minute between the first and the last.
const TRIES: u32 = 6;
/// The time before the second try. It doubles from there on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Tries until it succeeds, or another try is pointless, or there were enough of them. Yields the last reason.
pub(super) async fn with_patience<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure { why, again_after: None }) => return Err(why),
            Err(Failure { why, again_after: Some(delay) }) => {
                tracing::warn!(why, "a request failed and is tried again");
                sleep(pause.max(delay)).await;
                pause *= 2;
            }
        }
    }
    attempt().await.map_err(|failure| failure.why)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn failure(again_after: Option<u64>) -> Failure {
        Failure { why: "no".to_owned(), again_after: again_after.map(Duration::from_secs) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_the_rest_is_not() {
        let mut answers = vec![Ok(7), Err(failure(Some(20))), Err(failure(Some(0)))];
        let began = Instant::now();
        let done = with_patience(async || answers.pop().expect("no more tries than that")).await;
        assert_eq!((done, began.elapsed().as_secs()), (Ok(7), 1 + 20));

        let mut tries = 0;
        let refused: Result<(), _> = with_patience(async || {
            tries += 1;
            Err(failure(None))
        })
        .await;
        assert_eq!((refused, tries), (Err("no".to_owned()), 1));

        let (mut tries, began) = (0, Instant::now());
        let gave_up: Result<(), _> = with_patience(async || {
            tries += 1;
            Err(failure(Some(0)))
        })
        .await;
        assert_eq!((gave_up, tries, began.elapsed().as_secs()), (Err("no".to_owned()), 6, 31));
    }
}
