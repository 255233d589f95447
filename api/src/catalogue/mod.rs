//! What can be ordered, and what it costs.

pub(crate) mod price_list;
