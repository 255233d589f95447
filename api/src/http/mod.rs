//! What any handler needs, and what is around each.

pub(crate) mod arrival;
pub(crate) mod body;
pub(crate) mod channel;
pub(crate) mod codes;
pub(crate) mod cors;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod gauges;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod observe;
pub(crate) mod pages;
pub(crate) mod parameters;
pub(crate) mod problems;
pub(crate) mod replica;
pub(crate) mod tag;
pub(crate) mod texts;
pub(crate) mod times;
pub(crate) mod work;
