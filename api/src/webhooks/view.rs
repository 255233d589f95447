//! What webhooks and what was sent to them look like.

use serde::Serialize;
use store::deliveries::{Attempt, Shown};
use store::webhooks::Webhook;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A webhook, without what is secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    id: Uuid,
    #[schema(example = "https://example.com/orders")]
    url: String,
    /// Of these types alone, or those below them; of all that are of orders, where there is none.
    #[schema(example = json!(["order.moved"]))]
    types: Vec<String>,
    /// Of orders of these locations alone; of all, where there is none.
    locations: Vec<String>,
    /// Of orders that came by these channels alone; of all, where there is none.
    channels: Vec<String>,
    /// How much it is told: `thin`, the event; `order`, with the order as it was after it; `full`, with whom that is for as well.
    payload: &'static str,
    /// The channel whose platform it is: it is told what becomes of the channel's orders, in its own words, and set with the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// How many secrets it is signed with: two while one follows the other.
    secrets: usize,
    created_by: String,
    #[serde(with = "crate::http::times")]
    created_at: OffsetDateTime,
    #[serde(with = "crate::http::times")]
    updated_at: OffsetDateTime,
    /// Since when nothing is sent; null: it is.
    #[serde(with = "crate::http::times::option")]
    disabled_at: Option<OffsetDateTime>,
    /// Why not: `gone`, it answered 410; `failing`, it took nothing for five days; `told`, somebody disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_because: Option<String>,
    /// Since when it has taken nothing, though something was sent; null: it took the last one.
    #[serde(with = "crate::http::times::option")]
    failing_since: Option<OffsetDateTime>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let payload = webhook.payload().name();
        let Webhook { id, url, types, locations, channels, secrets, created_at, updated_at, .. } = webhook;
        let Webhook { created_by, disabled_at, because: disabled_because, platform, failing_since, .. } =
            webhook;
        let types = if platform.is_some() { Vec::new() } else { types };
        let secrets = secrets.len();
        Self {
            id,
            url,
            types,
            locations,
            channels,
            payload,
            platform,
            secrets,
            created_by,
            created_at,
            updated_at,
            disabled_at,
            disabled_because,
            failing_since,
        }
    }
}

/// A webhook that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    pub(super) webhook: WebhookView,
    /// What it is signed with. Shown now and never again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub(super) secret: String,
}

/// Those there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhooksView {
    pub(super) webhooks: Vec<WebhookView>,
}

/// A secret that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewSecret {
    /// Shown now and never again.
    pub(super) secret: String,
}

/// What was sent to a webhook, or is to be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// The event's, which is `webhook-id`, too.
    event: String,
    r#type: String,
    /// `behind`: others of its order go first. `waiting`: to be sent at `due_at`. `taken`. `parked`: tried for long enough.
    status: String,
    #[serde(with = "crate::http::times")]
    made_at: OffsetDateTime,
    #[serde(with = "crate::http::times::option")]
    due_at: Option<OffsetDateTime>,
    #[serde(with = "crate::http::times::option")]
    ended_at: Option<OffsetDateTime>,
    attempts: Vec<DeliveryAttemptView>,
}

/// A try.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryAttemptView {
    #[serde(with = "crate::http::times")]
    at: OffsetDateTime,
    took_ms: i32,
    /// Of the answer; null: there was none.
    status: Option<i16>,
    /// Why there was none: `timeout`, `no_connection`, `broken`; `not_allowed`: no address that webhooks may go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// What was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveriesView {
    pub(super) deliveries: Vec<DeliveryView>,
    /// Pass it as `after` for the next page; null on the last.
    pub(super) next: Option<String>,
}

impl DeliveriesView {
    pub(super) fn new(shown: Vec<Shown>, attempts: &[Attempt], is_full: bool) -> Self {
        let deliveries: Vec<DeliveryView> = shown
            .into_iter()
            .map(|one| {
                let of_it = attempts.iter().filter(|a| (a.subject, a.version) == (one.subject, one.version));
                let attempts = of_it.map(|a| DeliveryAttemptView {
                    at: a.at,
                    took_ms: a.took_ms,
                    status: a.status,
                    fault: a.fault.clone(),
                });
                DeliveryView {
                    event: domain::told::id_of(one.subject, one.version),
                    r#type: one.kind,
                    status: one.status,
                    made_at: one.made_at,
                    due_at: one.due_at,
                    ended_at: one.ended_at,
                    attempts: attempts.collect(),
                }
            })
            .collect();
        let next = deliveries.last().filter(|_| is_full).map(|last| last.event.clone());
        Self { deliveries, next }
    }
}

/// How many are sent again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replayed {
    pub(super) replayed: u64,
}

/// The event that is sent as a test.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tested {
    /// Its id: look for it among the deliveries.
    pub(super) event: String,
}

/// A new webhook.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhookBody {
    /// Where it is sent to: `https`, at an address that everybody can reach, or one that the operator allows.
    #[schema(example = "https://example.com/orders", max_length = 2000)]
    url: String,
    #[schema(example = json!(["order.moved"]), max_items = 50)]
    types: Option<Vec<String>>,
    #[schema(max_items = 100)]
    locations: Option<Vec<String>>,
    #[schema(max_items = 100)]
    channels: Option<Vec<String>>,
    /// `thin` where nothing is named, `order` or `full`.
    #[schema(example = "thin", pattern = "^(thin|order|full)$")]
    payload: Option<String>,
}

/// What is to change of a webhook.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookBody {
    #[schema(example = "https://example.com/orders", max_length = 2000)]
    url: Option<String>,
    #[schema(max_items = 50)]
    types: Option<Vec<String>>,
    #[schema(max_items = 100)]
    locations: Option<Vec<String>>,
    #[schema(max_items = 100)]
    channels: Option<Vec<String>>,
    #[schema(pattern = "^(thin|order|full)$")]
    payload: Option<String>,
    /// Nothing is sent to it; or again, after it was.
    disabled: Option<bool>,
}

/// What is to be sent again, of what is parked: all, where nothing is named.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// This one.
    #[schema(
        example = "01995f1c-7a3e-7c40-8d15-2f7a9b63c0de_3",
        pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9]{1,9}$"
    )]
    event: Option<String>,
    /// Made at this time or later (RFC 3339).
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Made before this time (RFC 3339).
    #[schema(format = DateTime)]
    to: Option<String>,
}
