//! An order's history as it is shown.

use std::collections::HashMap;

use domain::event::{Event, What};
use domain::money::{Currency, Money};
use domain::order::Order;
use domain::order::status::OrderStatus;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Everything that happened to an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The order.
    pub order_id: Uuid,
    /// Oldest first; `version` counts from 1 without a gap.
    pub history: Vec<EventView>,
    /// What the channel sent of the order's life there, exactly as it came: `_id`, `created`, `account`, `brandId`,
    /// `status`, `statusHistory`. It is not part of the history above. Left out where nothing came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub imported: Option<Box<RawValue>>,
}

/// One change of an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// The version of the order after this change.
    pub version: i32,
    /// What changed: `accepted`, `moved`, `added`, `addition_charged`, `addition_dropped`, `cancel_wished`, `told`,
    /// `forgotten`, `late_capture`, `kept`, `collected`, `refund_owed` or `refunded`.
    pub what: What,
    /// The status before this change; null if the order was new or did not change its status.
    pub from: Option<OrderStatus>,
    /// The status after this change; null if it did not change.
    pub to: Option<OrderStatus>,
    /// Who changed the order.
    pub actor: String,
    /// Why, if there is a reason.
    pub reason: Option<String>,
    /// The charge or refund that this change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<Uuid>,
    /// The client's own name for that payment; of a refund, for the charge that it gives back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "table-7")]
    pub payment_reference: Option<String>,
    /// For `accepted` the order's total; otherwise the money that was added, charged or refunded. Exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 30.97)]
    pub amount: Option<Box<RawValue>>,
    /// When.
    #[serde(with = "crate::http::times")]
    pub at: OffsetDateTime,
    /// When the order left the status `to`; null while it has it.
    #[serde(with = "crate::http::times::option")]
    pub left_at: Option<OffsetDateTime>,
    /// How long the order had the status `to`, in whole milliseconds; null while it has it.
    pub duration_ms: Option<i64>,
}

impl HistoryView {
    /// The history of these events, oldest first. The order leaves a status with the next event that moves it.
    /// `names` are those of its payments.
    pub(crate) fn new(
        order: &Order,
        events: Vec<Event>,
        names: HashMap<Uuid, String>,
        imported: Option<Box<RawValue>>,
    ) -> Self {
        let mut left = None;
        let mut history: Vec<EventView> = events
            .into_iter()
            .rev()
            .map(|event| {
                let left_at = if event.to.is_some() { left.replace(event.at) } else { None };
                let name = event.payment_id.and_then(|payment| names.get(&payment).cloned());
                EventView::new(event, left_at, name, order.total.currency())
            })
            .collect();
        history.reverse();
        Self { order_id: order.id, history, imported }
    }
}

impl EventView {
    fn new(
        event: Event,
        left_at: Option<OffsetDateTime>,
        payment_reference: Option<String>,
        currency: Currency,
    ) -> Self {
        let lasted = |left: OffsetDateTime| (left - event.at).whole_milliseconds();
        Self {
            version: event.version,
            what: event.what,
            from: event.from,
            to: event.to,
            actor: event.actor,
            reason: event.reason,
            payment_id: event.payment_id,
            payment_reference,
            amount: event.amount_minor.map(|minor| Money::from_minor(minor, currency).to_json()),
            at: event.at,
            left_at,
            duration_ms: left_at.map(|left| i64::try_from(lasted(left)).unwrap_or(i64::MAX)),
        }
    }
}
