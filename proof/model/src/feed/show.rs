//! A state in one line, for the way to a broken promise.

use std::fmt;

use super::state::{Place, Snapshot, State, Tick};

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.transactions.iter().enumerate().filter(|(_, one)| one.id > 0) {
            write!(f, "{index}: id {} {:?}", one.id, one.stage)?;
            for version in one.versions.iter().filter(|version| **version > 0) {
                write!(f, ", version {version}")?;
            }
            write!(f, "; ")?;
        }
        for (number, Tick { snapshot, .. }) in self.ticks() {
            write!(f, "tick {number} {snapshot}; ")?;
        }
        for (_, snapshot) in self.tickers.iter().flatten() {
            write!(f, "to note: {snapshot}; ")?;
        }
        for page in self.readers.iter().flatten() {
            let Place { subject, version, .. } = page.to.place;
            write!(f, "in hand: subject {subject} version {version}; ")?;
        }
        write!(f, "read up to {:?}", self.versions_read)?;
        if self.told_gone { write!(f, "; gone") } else { Ok(()) }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "below {}", self.xmax)?;
        if self.running.is_empty() { Ok(()) } else { write!(f, " without {:?}", self.running) }
    }
}
