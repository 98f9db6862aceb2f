//! The reason why a benchmark fails.

/// Any error will do: a person reads it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
