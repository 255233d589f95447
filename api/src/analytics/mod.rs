//! Numbers of what has happened, for managers, of their own locations: read from the cells that the follower `roll_up` writes, never
//! counted here. Each answer says of when it is (`as_of`); where nothing is rolled up yet there are no numbers, which is 503.

mod asked;
pub(crate) mod customers;
pub(crate) mod day;
mod found;
pub(crate) mod jobs;
pub(crate) mod money;
pub(crate) mod orders;
mod query;
pub(crate) mod statuses;
