//! Why there is no answer to what was handed in at a desk, through no fault of the client.

use runtime::batch::NotTaken;
use store::session::StoreError;

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

/// Whether the database is out, told once when it begins and once when it is over: not for each order that meets it.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    told: bool,
}

/// What there is to tell of it.
#[derive(Debug, PartialEq, Eq)]
enum News<'e> {
    /// It begins, and this is what was met.
    Begun(&'e str),
    Over,
}

impl Outage {
    /// Something was asked of the database, and this came of it; `cannot` says what is not possible while it is out.
    pub(crate) fn met<T>(&mut self, outcome: &Result<T, StoreError>, cannot: &'static str) {
        match self.news(outcome) {
            Some(News::Begun(cause)) => tracing::warn!(cause, "the database is out: cannot {cannot}"),
            Some(News::Over) => tracing::info!("the database is back: can {cannot} again"),
            None => {}
        }
    }

    fn news<'e, T>(&mut self, outcome: &'e Result<T, StoreError>) -> Option<News<'e>> {
        let before = self.told;
        match outcome {
            Err(StoreError::Unavailable(cause)) => {
                self.told = true;
                (!before).then_some(News::Begun(cause))
            }
            // Says nothing of others.
            Err(StoreError::Held) => None,
            Ok(_) | Err(StoreError::Refused(_)) => {
                self.told = false;
                before.then_some(News::Over)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut outage = Outage::default();
        let well: Result<(), _> = Ok(());
        let out: Result<(), _> = Err(StoreError::Unavailable("no answer".to_owned()));
        assert_eq!(outage.news(&well), None);
        assert_eq!(outage.news(&out), Some(News::Begun("no answer")));
        assert_eq!(outage.news(&out), None, "for the next order nothing is new");
        assert_eq!(
            outage.news(&Err::<(), _>(StoreError::Held)),
            None,
            "that somebody holds a row is no end of it"
        );
        assert_eq!(outage.news(&out), None);
        assert_eq!(outage.news(&well), Some(News::Over));
        assert_eq!(outage.news(&well), None);
        assert_eq!(outage.news(&out), Some(News::Begun("no answer")), "another one");
    }
}
