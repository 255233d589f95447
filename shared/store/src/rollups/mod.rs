//! rollups: what has happened, by quarters of an hour (domain/rolled says what counts where, and how an hour is kept). A page of events is added in the
//! transaction that moves its follower's cursor, so each event counts once. One at a time adds: the cursor's lock sees to that.

mod add;
pub mod anew;
pub mod customers;
pub mod jobs;
pub mod periods;
pub mod read;
pub mod today;
mod write;

pub use self::add::add;
pub use self::write::cells as add_cells;
