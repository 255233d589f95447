//! What goes wrong in a loop: told once when it begins, not at each try.

use anyhow::Result;

/// Whether a loop is well.
#[derive(Debug)]
pub(crate) struct Health {
    is_well: bool,
}

impl Health {
    /// Of a loop that begins.
    pub(crate) const fn new() -> Self {
        Self { is_well: true }
    }

    /// This came of a try; `cannot` says of what.
    pub(crate) fn met<T>(&mut self, outcome: &Result<T>, cannot: &str) {
        match outcome {
            Ok(_) => self.is_well = true,
            Err(error) if std::mem::take(&mut self.is_well) => {
                tracing::warn!(error = format!("{error:#}"), "{cannot}; trying on");
            }
            Err(_) => {}
        }
    }
}
