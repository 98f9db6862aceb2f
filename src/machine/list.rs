//! The progress of the lists of one kind.

/// The lists of one kind in this term.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub(in crate::machine) serial: u32,
    /// A list is under way: the objects that are seen come from it.
    pub(in crate::machine) under_way: bool,
    pub(in crate::machine) done: bool,
    pub(in crate::machine) failed: Option<String>,
}

// === impl List ===

impl List {
    pub fn began(&mut self) {
        self.serial += 1;
        self.under_way = true;
    }

    pub fn ended(&mut self) {
        (self.done, self.under_way, self.failed) = (true, false, None);
    }

    /// Whether the kind has been listed in this term, and if not, the reason.
    pub fn state(&self) -> Result<(), &str> {
        match (&self.failed, self.done) {
            (Some(text), _) => Err(text.as_str()),
            (None, false) => Err("they have not been listed yet"),
            (None, true) => Ok(()),
        }
    }
}
