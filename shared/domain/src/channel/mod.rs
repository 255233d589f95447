//! Channels: aggregators that send orders in documents of their own.

pub mod dialect;
pub mod document;
pub mod name;
pub mod price_list;
pub(crate) mod reading;
pub mod settings;
pub mod told;
