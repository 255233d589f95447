//! tracking: what has happened, told to whoever asks: in batches, and as it happens.

mod cursor;
pub(crate) mod events;
pub(crate) mod hub;
mod lasts;
mod onlooker;
mod pages;
pub(crate) mod streams;
