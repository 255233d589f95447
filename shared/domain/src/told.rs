//! told: how what has happened is named and described to others: one vocabulary, and one envelope (`CloudEvents` 1.0), whichever way
//! they hear of it. Thin, and without anything about people or money: whoever is entitled to more reads the order, or asks for it
//! (`payload`).

mod payload;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub use self::payload::{OrderThen, Past, Payload, Unread, with_handover};
use crate::event::{Event, What};
use crate::order::status::OrderStatus;

/// What others choose events by, beside their type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Where the order is made.
    pub location: String,
    /// By which channel it came.
    pub channel: Option<String>,
    /// What that one calls it.
    pub channel_order_id: Option<String>,
    /// Of a product, where it is sold; the others say nothing of one.
    pub sold_at: Option<Vec<String>>,
}

impl About {
    /// Of a product that is sold there.
    pub fn product(locations: Vec<String>) -> Self {
        Self { sold_at: Some(locations), ..Self::default() }
    }

    /// Whether it is the business of any of these locations.
    pub fn is_at(&self, locations: &[String]) -> bool {
        match &self.sold_at {
            Some(sold_at) => sold_at.iter().any(|at| locations.contains(at)),
            None => locations.contains(&self.location),
        }
    }
}

/// What an event is called: `order.accepted`, `order.moved.CONFIRMED`, `order.refunded`, ..
pub const fn type_of(what: What, to: Option<OrderStatus>) -> &'static str {
    match (what, to) {
        (What::Accepted, _) => "order.accepted",
        (What::Moved, Some(OrderStatus::Pending)) => "order.moved.PENDING",
        (What::Moved, Some(OrderStatus::PaymentProcessing)) => "order.moved.PAYMENT_PROCESSING",
        (What::Moved, Some(OrderStatus::Confirmed)) => "order.moved.CONFIRMED",
        (What::Moved, Some(OrderStatus::PaymentFailed)) => "order.moved.PAYMENT_FAILED",
        (What::Moved, Some(OrderStatus::Accepted)) => "order.moved.ACCEPTED",
        (What::Moved, Some(OrderStatus::Preparing)) => "order.moved.PREPARING",
        (What::Moved, Some(OrderStatus::Ready)) => "order.moved.READY",
        (What::Moved, Some(OrderStatus::Delivered)) => "order.moved.DELIVERED",
        (What::Moved, Some(OrderStatus::Rejected)) => "order.moved.REJECTED",
        (What::Moved, Some(OrderStatus::Cancelled)) => "order.moved.CANCELLED",
        (What::Moved, None) => "order.moved",
        (What::Added, _) => "order.added",
        (What::AdditionCharged, _) => "order.addition_charged",
        (What::AdditionDropped, _) => "order.addition_dropped",
        (What::CancelWished, _) => "order.cancel_wished",
        (What::Told, _) => "order.told",
        (What::LateCapture, _) => "order.late_capture",
        (What::Kept, _) => "order.kept",
        (What::Collected, _) => "order.collected",
        (What::RefundOwed, _) => "order.refund_owed",
        (What::Refunded, _) => "order.refunded",
        (What::Forgotten, _) => "order.forgotten",
        (What::ProductMade, _) => "product.made",
        (What::ProductChanged, _) => "product.changed",
        (What::PriceChanged, _) => "product.price_changed",
        (What::PriceDropped, _) => "product.price_dropped",
        (What::ProductDeleted, _) => "product.deleted",
        (What::StockSet, _) => "product.stock_set",
        (What::StockAdded, _) => "product.stock_added",
        (What::StockShipped, _) => "product.stock_shipped",
    }
}

/// Every type that there is.
pub fn types() -> impl Iterator<Item = &'static str> {
    let moves = OrderStatus::ALL.into_iter().filter(|to| *to != OrderStatus::Pending);
    let others = What::ALL.into_iter().filter(|what| *what != What::Moved);
    let of_products = What::OF_PRODUCTS.into_iter().map(|what| type_of(what, None));
    others
        .map(|what| type_of(what, None))
        .chain(moves.map(|to| type_of(What::Moved, Some(to))))
        .chain(of_products)
}

/// Which types somebody wants: by their names, or by the first parts of them (`order.moved`); all, where none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted(Vec<String>);

/// Most names in a choice: more than there are types.
pub const MAX_WANTED: usize = 50;

impl Wanted {
    /// Reads names; the error is the first that names no type.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut wanted = Vec::new();
        for name in names {
            if wanted.len() == MAX_WANTED || !types().any(|known| is_of(known, name)) {
                return Err(name);
            }
            wanted.push(name.to_owned());
        }
        Ok(Self(wanted))
    }

    /// Whether they want this type.
    pub fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| is_of(name, wanted))
    }

    /// The same of those alone that are of orders: what is chosen by whoever names nothing.
    #[must_use]
    pub fn of_orders(self) -> Self {
        if self.0.is_empty() { Self(vec!["order".to_owned()]) } else { self }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// Whether a type is the one that is named, or one below it.
fn is_of(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// An event as others are told of it: a `CloudEvent` of version 1.0 in its structured form.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Told {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// The order's or the product's id and the version, with a `_` between: the same event has the same id whichever way it is told,
    /// and again.
    #[schema(example = "01995f1c-7a3e-7c40-8d15-2f7a9b63c0de_3")]
    pub id: String,
    /// Where orders are, or products.
    #[schema(example = "/api/v1/orders")]
    pub source: &'static str,
    /// What happened.
    #[schema(example = "order.moved.CONFIRMED")]
    pub r#type: &'static str,
    /// The order, or the product.
    pub subject: Uuid,
    /// When, RFC 3339.
    #[schema(example = "2026-01-31T17:02:11.5Z")]
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Where it stands in what has happened: pass it as `after` to read on behind it. Only where it was read from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What there is to say.
    pub data: Data,
}

/// What is told of a change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Data {
    /// Of an order.
    Order(Box<OfOrder>),
    /// Of a product.
    Product(OfProduct),
}

/// What is told of a change of a product. Read the product for more.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OfProduct {
    /// The product.
    pub product_id: Uuid,
    /// 1, 2, .. of the product, without a gap.
    pub version: i32,
    /// What changed.
    pub what: What,
    /// Where it is sold.
    pub locations: Vec<String>,
}

/// What is told of a change of an order. Read the order for more.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OfOrder {
    /// The order.
    pub order_id: Uuid,
    /// 1, 2, .. of the order, without a gap: whoever has told them in their order may tell that one is missing.
    pub version: i32,
    /// What changed.
    pub what: What,
    /// The status before; null where the order was new or did not move.
    pub from: Option<OrderStatus>,
    /// The status after; null where it did not move.
    pub to: Option<OrderStatus>,
    /// Where the order is made.
    pub location: String,
    /// The channel by which it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What the channel calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order_id: Option<String>,
    /// The charge or refund that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<Uuid>,
    /// Of webhooks that asked for it: the order as it was after this change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderThen>,
    /// Of webhooks that asked for it: whom it is for and how it goes, as it is when this is sent; null: it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub handover: Option<Unread>,
}

/// What an event is called wherever it is told: the id of whose it is, and the version.
pub fn id_of(subject: Uuid, version: i32) -> String {
    format!("{subject}_{version}")
}

impl Told {
    /// An event of an order, or of a product, about which this is known.
    pub fn new(event: &Event, about: &About) -> Self {
        let data = match &about.sold_at {
            None => Data::Order(Box::new(OfOrder {
                order_id: event.subject,
                version: event.version,
                what: event.what,
                from: event.from,
                to: event.to,
                location: about.location.clone(),
                channel: about.channel.clone(),
                channel_order_id: about.channel_order_id.clone(),
                payment_id: event.payment_id,
                order: None,
                handover: None,
            })),
            Some(locations) => Data::Product(OfProduct {
                product_id: event.subject,
                version: event.version,
                what: event.what,
                locations: locations.clone(),
            }),
        };
        Self {
            specversion: "1.0",
            id: id_of(event.subject, event.version),
            source: if about.sold_at.is_some() { "/api/v1/products" } else { "/api/v1/orders" },
            r#type: type_of(event.what, event.to),
            subject: event.subject,
            time: event.at.format(&Rfc3339).unwrap_or_default(),
            datacontenttype: "application/json",
            cursor: None,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_payloads_are_read_back() {
        for payload in Payload::ALL {
            assert_eq!(Payload::of_name(payload.name()), Some(payload));
        }
        assert_eq!(Payload::of_name("fat"), None);
    }

    #[test]
    fn every_type_has_a_name_of_its_own_and_is_chosen_by_it_or_by_what_it_is_below() {
        let all: Vec<&str> = types().collect();
        let mut names = all.clone();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert_eq!(all.len(), What::ALL.len() - 1 + OrderStatus::ALL.len() - 1 + What::OF_PRODUCTS.len());
        assert!(MAX_WANTED > all.len());
        for name in &all {
            assert_eq!(all.iter().filter(|other| Wanted::parse([*name]).unwrap().has(other)).count(), 1);
        }
        let moves = Wanted::parse(["order.moved"]).unwrap();
        assert!(moves.has("order.moved.READY") && !moves.has("order.added"));
        assert!(Wanted::default().has("order.added") && Wanted::default().has("product.made"));
        let orders = Wanted::default().of_orders();
        assert!(orders.has("order.added") && orders.has("order.moved.READY") && !orders.has("product.made"));
        for what in What::OF_PRODUCTS {
            assert!(what.is_of_product() && type_of(what, None).starts_with("product."));
        }
        let addition = Wanted::parse(["order.added", "order.addition"]);
        assert_eq!(addition, Err("order.addition"), "no type, and not the first parts of one");
        assert_eq!(Wanted::parse([""]), Err(""));
    }
}
