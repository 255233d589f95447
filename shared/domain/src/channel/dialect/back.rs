//! back: what a platform is told of an order that it sent, in its own words. Pure functions from a move to the body of a request; it
//! is signed as the platform signs to us, and sent by the follower. A dialect without a word for a move says nothing.

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::Dialect;
use crate::channel::reading::Object;
use crate::order::status::OrderStatus;
use crate::problems::Problems;

/// A move of an order that a channel sent.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// Ours.
    pub order_id: Uuid,
    /// What the channel calls it.
    pub channel_order_id: &'a str,
    /// The channel's document, to the letter; `None`: it is forgotten.
    pub document: Option<&'a RawValue>,
    /// Where the order stands since.
    pub to: OrderStatus,
    /// Why, where somebody said so.
    pub reason: Option<&'a str>,
    /// When.
    pub at: OffsetDateTime,
}

impl Dialect {
    /// Whether its platform can be told what becomes of its orders.
    pub const fn tells_back(self) -> bool {
        matches!(self, Self::Deliverect)
    }

    /// What its platform is told of a move, as JSON; `None`: nothing.
    pub fn tell_back(self, moved: &Moved<'_>) -> Option<String> {
        match self {
            Self::Deliverect => deliverect(moved),
            Self::Plain | Self::Shopify | Self::WooCommerce => None,
        }
    }
}

/// Deliverect's "Order Status Update", as its channel API publishes it: sent by POST to the address that the channel set, signed in
/// `X-Server-Authorization-HMAC-SHA256`. Fields that are not known are left empty or out, as there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusUpdate<'a> {
    order_id: String,
    status: u8,
    time_stamp: String,
    /// The till's own name for it: ours.
    receipt_id: Uuid,
    reason: &'a str,
    channel_order_id: &'a str,
    location: String,
    channel_link: String,
}

fn deliverect(moved: &Moved<'_>) -> Option<String> {
    // Whatever is wrong with a document that was taken was taken, too.
    let mut ignored = Problems::default();
    let document = moved.document.map(|document| Object::whole(document, &mut ignored));
    let mut named = |names: &[&str]| {
        let document = document.as_ref()?;
        names.iter().find_map(|name| document.id(name, &mut ignored))
    };
    let update = StatusUpdate {
        status: deliverect_status(moved.to)?,
        order_id: named(&["_id"]).unwrap_or_else(|| moved.order_id.to_string()),
        time_stamp: moved
            .at
            .to_offset(time::UtcOffset::UTC)
            .format(format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
            ))
            .ok()?,
        receipt_id: moved.order_id,
        reason: moved.reason.unwrap_or_default(),
        channel_order_id: moved.channel_order_id,
        location: named(&["location", "posLocationId"]).unwrap_or_default(),
        channel_link: named(&["channelLink", "channelLinkId"]).unwrap_or_default(),
    };
    serde_json::to_string(&update).ok()
}

/// Deliverect's numbers. That it came in (`CONFIRMED`) was said by the answer to its document.
const fn deliverect_status(to: OrderStatus) -> Option<u8> {
    Some(match to {
        OrderStatus::Accepted => 20,
        OrderStatus::Preparing => 50,
        // "Ready for pickup"; "prepared" (60) is a step that our kitchens do not have.
        OrderStatus::Ready => 70,
        OrderStatus::Delivered => 90,
        OrderStatus::Cancelled => 110,
        // "Failed", which is told to whoever ordered. Its app's own "denied" (35) lies between 20 and 95, and by its own rule that
        // means a success to whoever does not know it.
        OrderStatus::Rejected | OrderStatus::PaymentFailed => 120,
        OrderStatus::Pending | OrderStatus::PaymentProcessing | OrderStatus::Confirmed => return None,
    })
}
