//! Answers held back until a test lets them go, so that what happens meanwhile needs no guessed delay.

use tokio::sync::watch;

/// Holds back every answer that was given it, until it is released. Clones are one.
#[derive(Clone, Debug)]
pub struct Hold(watch::Sender<bool>);

// === impl Hold ===

impl Hold {
    /// One that holds.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets go of what is held, and holds nothing from now on.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn released(&self) {
        // It fails only once every sender is gone, and this is one.
        let _ = self.0.subscribe().wait_for(|released| *released).await;
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}
