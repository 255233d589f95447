//! What `POST /orders` carries, and the order that comes of it.

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::NewOrder;
use super::details::{Handover, HandoverRequest, NewDetails, SNAKE_CASE};
use super::lines::priced;
use crate::channel::name::{ChannelKey, ChannelName};
use crate::limits::{DEFAULT_CURRENCY, MAX_ID_CHARS};
use crate::problems::{Problem, Problems};

/// What `POST /orders` carries, before anything is known of it but that it is a JSON object. Fields are kept raw,
/// so that one that is missing or of the wrong type is a problem with a place, like any other.
#[derive(Debug, Deserialize)]
pub struct OrderRequest<'a> {
    #[serde(borrow)]
    customer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    fulfilment: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
    #[serde(borrow)]
    delivery_address: Option<&'a RawValue>,
    #[serde(borrow)]
    pickup_time: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
}

impl NewOrder {
    /// Checks everything about a request and gives it its ids; all that is wrong comes back at once.
    pub fn parse(request: &OrderRequest<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let customer_id = problems.text("customer_id", request.customer_id, MAX_ID_CHARS);
        let currency = problems.currency(request.currency).unwrap_or(DEFAULT_CURRENCY);
        let (items, total) = priced(&mut problems, request.items, currency);
        let handover = request.handover().parse(&SNAKE_CASE, &mut problems);
        let key = problems.channel_key(request.channel, request.channel_order_id);
        let expires_at = request.expires_at.and_then(|raw| problems.expiry("expires_at", raw));
        match (customer_id, total) {
            (Some(customer_id), Some(total)) if problems.0.is_empty() => {
                let mut order = Self::new(customer_id, &items, total);
                if key.is_some() || expires_at.is_some() || !handover.is_empty() {
                    let details = NewDetails::of_request(&order, handover, expires_at, key);
                    order.details = Some(Box::new(details));
                }
                Ok(order)
            }
            _ => Err(problems.0),
        }
    }
}

impl<'a> OrderRequest<'a> {
    const fn handover(&self) -> HandoverRequest<'a> {
        let Self { fulfilment, customer, delivery_address, pickup_time, .. } = *self;
        HandoverRequest { fulfilment, customer, delivery_address, pickup_time }
    }
}

impl NewDetails {
    /// That of an order by `POST /orders`.
    pub(crate) fn of_request(
        order: &NewOrder,
        handover: Handover,
        expires_at: Option<OffsetDateTime>,
        named: Option<(ChannelName, String)>,
    ) -> Self {
        let key = named.map(|(channel, order_id)| {
            let NewOrder { customer_id, items, total, .. } = order;
            let expires_at = expires_at.map(|at| (at.unix_timestamp(), at.microsecond()));
            let content = (customer_id, total.currency().code(), items, &handover, expires_at);
            ChannelKey::new(channel, order_id, &content)
        });
        Self { handover, key, imported: None, paid_elsewhere: None, expires_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<NewOrder, Vec<Problem>> {
        NewOrder::parse(&serde_json::from_str(json).unwrap())
    }

    fn one_item(quantity: &str, price: &str) -> String {
        format!(
            r#"{{"customer_id":"c","items":[{{"item_id":"i","item_name":"n","quantity":{quantity},"price":{price}}}]}}"#
        )
    }

    fn first_problem(json: &str) -> (String, &'static str) {
        let problem = parse(json).unwrap_err().remove(0);
        (problem.attr, problem.code)
    }

    #[test]
    fn a_good_order_has_an_exact_total_and_keeps_its_decimals() {
        let order = parse(&one_item("2", "12.50")).unwrap();
        assert_eq!(order.total.to_string(), "25.00");
        assert_eq!(order.items.get(), r#"[{"item_id":"i","item_name":"n","quantity":2,"price":12.50}]"#);
    }

    #[test]
    fn its_charge_may_end_at_a_time_of_its_own_that_is_to_come_and_not_too_far() {
        let expiring = |at: &str| {
            let order = one_item("1", "1")
                .replace("\"customer_id\"", &format!("\"expires_at\":{at},\"customer_id\""));
            parse(&order).map(|order| order.details.and_then(|details| details.expires_at))
        };
        let rfc3339 = |at: OffsetDateTime| {
            format!("\"{}\"", at.format(&time::format_description::well_known::Rfc3339).unwrap())
        };
        let code = |at: &str| expiring(at).unwrap_err().remove(0).code;
        let now = OffsetDateTime::now_utc();
        let soon = now + time::Duration::minutes(2);
        let elsewhere = soon.to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
        let whole = soon.replace_nanosecond(soon.microsecond() * 1_000).unwrap();
        for at in [soon, elsewhere] {
            let read = expiring(&rfc3339(at)).unwrap().unwrap();
            assert_eq!((read, read.offset()), (whole, time::UtcOffset::UTC), "to the microsecond");
        }
        assert_eq!(expiring("null").unwrap(), None);
        assert!(
            expiring(&rfc3339(now)).is_ok(),
            "whether that is too late depends on whether it came before"
        );
        assert_eq!(code(&rfc3339(now + time::Duration::days(8))), "too_far");
        assert_eq!(code("\"9999-12-31T23:59:59Z\""), "too_far");
        assert_eq!(
            (code("\"soon\""), code("\"2026-01-31\""), code("1769878800")),
            ("no_time", "no_time", "not_text")
        );
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let of = |quantity, price| first_problem(&one_item(quantity, price));
        assert_eq!(of("0", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("-5", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("3000000000", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("1", "12.999"), ("items[0].price".into(), "too_precise"));
        assert_eq!(of("1", "-1"), ("items[0].price".into(), "negative"));
        assert_eq!(of("1", "\"1\""), ("items[0].price".into(), "not_decimal"));
        assert_eq!(of("\"2\"", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("1.5", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("2.0", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("1e1", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("-0", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(first_problem("{}"), ("customer_id".into(), "required"));
        assert_eq!(first_problem(r#"{"customer_id":7,"items":[]}"#), ("customer_id".into(), "not_text"));
        assert_eq!(first_problem(r#"{"customer_id":"c","items":[1]}"#), ("items".into(), "not_a_list"));
        assert_eq!(
            first_problem(r#"{"customer_id":"c","items":[{}]}"#),
            ("items[0].item_id".into(), "required")
        );
        assert_eq!(of("1", "0"), ("items".into(), "nothing_to_pay"));
        assert_eq!(of("10000", "9999999999"), ("items[0].price".into(), "too_large"));
        assert_eq!(first_problem(r#"{"customer_id":"c","items":[]}"#), ("items".into(), "empty"));
        assert_eq!(first_problem(r#"{"customer_id":" ","items":[]}"#), ("customer_id".into(), "empty"));
        let nul = one_item("1", "1").replace("\"n\"", "\"a\\u0000b\"");
        assert_eq!(first_problem(&nul), ("items[0].item_name".into(), "control_character"));
        let both = parse(&one_item("0", "-1")).unwrap_err();
        assert_eq!(both.len(), 2, "all problems come at once");
    }
}
