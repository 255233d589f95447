//! Sessions of this program.

use store::Database;
use store::session::Session;

/// One whose plans are made anew all the time: what is followed and told lies in tables that are empty as a rule, and hold a great
/// deal once in a while.
pub(crate) fn session(database: &Database) -> Session {
    database.session().planning_anew()
}
