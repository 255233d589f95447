//! What can be ordered: products with variations and options, in categories. No I/O.

pub mod cart;
pub mod category;
pub mod menu;
pub mod product;
pub(crate) mod reading;
pub mod request;
