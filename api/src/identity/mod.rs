//! Who asks.

pub(crate) mod caller;
