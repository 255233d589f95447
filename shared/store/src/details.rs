//! What few orders have, from its columns, as several statements select them.

use domain::order::adjustments::Adjustment;
use domain::order::details::{Details, Handover, LeftOut};
use domain::order::payment_method::{Payment, PaymentMethod};
use serde_json::value::RawValue;
use sqlx::types::Json;
use time::OffsetDateTime;

/// The columns of `order_details`, as it is joined: `handover` says whether there is a row.
pub(super) struct Columns {
    pub(super) paid_elsewhere: Option<bool>,
    pub(super) on_delivery: Option<bool>,
    pub(super) collected: Option<bool>,
    pub(super) kept: Option<bool>,
    pub(super) expires_at: Option<OffsetDateTime>,
    pub(super) wanted_at: Option<OffsetDateTime>,
    pub(super) held_until: Option<OffsetDateTime>,
    pub(super) left_out: Option<Json<Vec<LeftOut>>>,
    pub(super) channel: Option<String>,
    pub(super) channel_order_id: Option<String>,
    pub(super) payment_reference: Option<String>,
    pub(super) gateway_payment_method: Option<String>,
    pub(super) gateway_customer: Option<String>,
    pub(super) handover: Option<Json<Handover>>,
    pub(super) metadata: Option<Json<Box<RawValue>>>,
}

impl Columns {
    /// With the amounts beside the order's lines, which stand with those.
    pub(super) fn with(self, adjustments: Option<Json<Vec<Adjustment>>>) -> Option<Box<Details>> {
        let Json(handover) = self.handover?;
        let method = if self.paid_elsewhere.unwrap_or_default() {
            PaymentMethod::Elsewhere
        } else if self.on_delivery.unwrap_or_default() {
            PaymentMethod::OnDelivery
        } else {
            PaymentMethod::Card
        };
        Some(Box::new(Details {
            handover,
            channel: self.channel.zip(self.channel_order_id),
            adjustments: adjustments.map(|Json(all)| all).unwrap_or_default(),
            metadata: self.metadata.map(|Json(metadata)| metadata),
            payment: Payment {
                method,
                reference: self.payment_reference,
                gateway_payment_method: self.gateway_payment_method,
                gateway_customer: self.gateway_customer,
            },
            collected: self.collected.unwrap_or_default(),
            kept: self.kept.unwrap_or_default(),
            expires_at: self.expires_at,
            wanted_at: self.wanted_at,
            held_until: self.held_until,
            left_out: self.left_out.map(|Json(all)| all).unwrap_or_default(),
        }))
    }
}
