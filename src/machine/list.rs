//! The progress of the lists of one kind: there is one of all namespaces, or one of each that is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::ids::Kind;

/// The objects that one list brings, and the watch that follows it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Extent {
    pub kind: Kind,
    /// None: all of them.
    pub namespace: Option<Arc<str>>,
}

/// The lists of one kind in this term.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    pub(in crate::machine) all: List,
    pub(in crate::machine) by_namespace: BTreeMap<Arc<str>, List>,
}

/// The lists of one extent in this term.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub(in crate::machine) serial: u32,
    /// A list is under way: the objects that are seen come from it.
    pub(in crate::machine) under_way: bool,
    pub(in crate::machine) done: bool,
    pub(in crate::machine) failed: Option<String>,
}

/// The namespaces in which something has been listed.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub(in crate::machine) all: bool,
    pub(in crate::machine) namespaces: BTreeSet<Arc<str>>,
}

// === impl Extent ===

impl Extent {
    pub fn all(kind: Kind) -> Self {
        Self { kind, namespace: None }
    }

    pub fn of(kind: Kind, namespace: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: Some(namespace.into()) }
    }

    pub fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

// === impl Lists ===

impl Lists {
    /// The lists that bring the objects of a namespace.
    pub fn of(&self, namespace: &str) -> &List {
        self.by_namespace.get(namespace).unwrap_or(&self.all)
    }

    pub fn of_extent(&mut self, extent: &Extent) -> &mut List {
        match &extent.namespace {
            Some(namespace) => self.by_namespace.entry(namespace.clone()).or_default(),
            None => &mut self.all,
        }
    }
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

// === impl Listed ===

impl Listed {
    /// Yields whether that is new.
    pub fn add(&mut self, extent: &Extent) -> bool {
        match &extent.namespace {
            Some(namespace) => self.namespaces.insert(namespace.clone()),
            None => !std::mem::replace(&mut self.all, true),
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.all && self.namespaces.is_empty()
    }

    pub fn contains(&self, namespace: &str) -> bool {
        self.all || self.namespaces.contains(namespace)
    }
}
