//! What can be ordered, and what it costs.

pub(crate) mod articles;
pub(crate) mod cart;
pub(crate) mod categories;
pub(crate) mod price_list;
pub(crate) mod public;
pub mod seed;
pub(crate) mod shelf;
mod shown;
pub(crate) mod stock;
pub(crate) mod view;

use store::catalogue::Changed;

use crate::http::error::ApiError;

/// What a change came to, or why it was not made.
fn done<T>(what: &str, changed: Changed<T, ApiError>) -> Result<T, ApiError> {
    match changed {
        Changed::Done(done) => Ok(done),
        Changed::NameTaken => Err(ApiError::taken("name", "name_taken", "another one is called so")),
        Changed::PluTaken => {
            let detail = "another product that is sold at one of its locations has this plu";
            Err(ApiError::taken("plu", "plu_taken", detail))
        }
        Changed::NotFound => Err(ApiError::not_found(what)),
        Changed::NoCategory => {
            Err(ApiError::invalid_one("category_id", "unknown_category", "there is no such category"))
        }
        Changed::NoLocation => {
            Err(ApiError::invalid_one("locations", "unknown_location", "there is no such location"))
        }
        Changed::Refused(refused) => Err(refused),
    }
}
