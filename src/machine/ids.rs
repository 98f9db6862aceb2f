//! Names and numbers of objects, plans, calls, writes and requests.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

/// Id of a test plan at Testinium.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PlanId(pub i64);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A resourceVersion: since Kubernetes 1.35 by contract a decimal number that orders the versions of one kind.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u64);

/// Uid of an object.
pub type Uid = Arc<str>;

/// Namespace and name of an object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The name of one kind of object: two kinds can't be mistaken for each other.
macro_rules! key_of_kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Key);

        impl $name {
            pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
                Self(Key::new(namespace, name))
            }
        }

        impl From<Key> for $name {
            fn from(key: Key) -> Self {
                Self(key)
            }
        }

        impl Deref for $name {
            type Target = Key;
            fn deref(&self) -> &Key {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

key_of_kind!(
    /// Namespace and name of a run.
    RunKey
);
key_of_kind!(
    /// Namespace and name of a gateway.
    GatewayKey
);

key_of_kind!(
    /// Namespace and name of a cleanup rule.
    CleanupKey
);

/// A run that a cleanup rule writes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CleanedRun {
    pub cleanup: CleanupKey,
    pub run: RunKey,
}

/// A watched kind.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
pub enum Kind {
    Runs,
    Gateways,
    Cleanups,
}

/// The name of an object of any watched kind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKey {
    Run(RunKey),
    Gateway(GatewayKey),
    Cleanup(CleanupKey),
}

// === impl ObjectKey ===

impl ObjectKey {
    /// The name of an object of this kind.
    pub fn of_kind(kind: Kind, key: Key) -> Self {
        match kind {
            Kind::Runs => Self::Run(key.into()),
            Kind::Gateways => Self::Gateway(key.into()),
            Kind::Cleanups => Self::Cleanup(key.into()),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_) => Kind::Runs,
            Self::Gateway(_) => Kind::Gateways,
            Self::Cleanup(_) => Kind::Cleanups,
        }
    }
}

impl Deref for ObjectKey {
    type Target = Key;
    fn deref(&self) -> &Key {
        match self {
            Self::Run(key) => key,
            Self::Gateway(key) => key,
            Self::Cleanup(key) => key,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A record of a run. Never used twice in a term.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RunId(pub u64);

/// A namespace, in the order of turns at a gateway. Never used twice in a term.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lane(pub u32);

/// A call to a gateway. Never used twice in a term.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallId(pub u64);

/// A write to the Kubernetes API. Never used twice in a term.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WriteSerial(pub u64);

/// A reading of a run. Never used twice in a term.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReadSerial(pub u64);

/// A page of runs that is listed for a cleanup rule. Never used twice in a term.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PageSerial(pub u64);

/// The number of an address, or of a credential, of a gateway: a later one has a higher number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// The number of a request for a stop, counted for each record of a run: a later one has a higher number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestSeq(pub u32);

/// The version of the Secrets and ConfigMaps that a credential was made of; it says nothing of their content.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SecretVersion(pub String);
