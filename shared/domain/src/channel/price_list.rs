//! What a channel's articles cost where its orders do not say. No I/O.

use std::collections::HashMap;

use crate::fields::fields;
use crate::limits::{DEFAULT_CURRENCY, MAX_ID_CHARS};
use crate::money::{Currency, Money};
use crate::problems::Problem;
use crate::problems::{At, Place, Problems};

/// What a channel's articles cost.
#[derive(Debug, Clone, Default)]
pub struct PriceList {
    /// Of all its prices; `None`: it is empty.
    pub currency: Option<Currency>,
    /// By plu.
    pub prices: HashMap<String, Money>,
}

fields! {
    /// What a price list may be, still raw.
    pub struct PriceListRequest { currency, prices }
}

fields! {
    struct PriceRequest { plu, price }
}

impl PriceList {
    /// Checks a whole list.
    pub fn parse(request: &PriceListRequest<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &request.odd);
        let currency = problems.currency(request.currency).unwrap_or(DEFAULT_CURRENCY);
        let listed = problems
            .present("prices", request.prices)
            .map_or(Ok(Vec::new()), |raw| serde_json::from_str::<Vec<PriceRequest<'_>>>(raw.get()));
        let listed = listed.unwrap_or_else(|_| {
            problems.add("prices", "not_a_list", "must be a list of objects, each field given once");
            Vec::new()
        });
        let mut prices = HashMap::with_capacity(listed.len());
        for (index, one) in listed.iter().enumerate() {
            problems.odd(&At::Top.field("prices").entry(index), &one.odd);
            let attr = |field| Place { list: "prices", index, field };
            let plu = problems.text(attr("plu"), one.plu, MAX_ID_CHARS);
            let price = problems.price(attr("price"), one.price, currency);
            let (Some(plu), Some(price)) = (plu, price) else { continue };
            if prices.insert(plu, price).is_some() {
                problems.add(attr("plu"), "repeated", "has a price already");
            }
        }
        let currency = (!prices.is_empty()).then_some(currency);
        if problems.0.is_empty() { Ok(Self { currency, prices }) } else { Err(problems.0) }
    }
}
