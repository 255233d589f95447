//! Every promise in every state, and every weakening with the promise that it breaks. `-- --nocapture` prints the counts, and
//! the shortest way to each broken promise.

mod feed_model;
mod for_later_model;
mod in_hand_model;
mod lock_model;
mod protocol;
mod stock_model;
