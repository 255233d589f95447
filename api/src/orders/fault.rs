//! Why there is no answer to what was handed in at a desk, through no fault of the client.

use runtime::batch::NotTaken;

/// Why it was not carried out, or why that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Too many wait already. Nothing was done.
    Full,
    /// The database is out, or did not answer in time. It may have been carried out; the same request again finds out.
    Unavailable,
    /// Somebody else holds the order, or the name that it comes under. Nothing was done.
    Held,
    /// The database refused the statement: a fault of ours, logged where it was met.
    Internal,
}

impl From<NotTaken> for Fault {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Full => Self::Full,
            NotTaken::Stopped | NotTaken::Late => Self::Unavailable,
        }
    }
}
