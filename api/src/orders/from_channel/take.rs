//! What becomes of a document: its order is accepted, or the one called off that it says is off; what can be neither is kept.

use std::time::Duration;

use axum::response::Response;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::dialect::{Dialect, Incoming};
use domain::channel::name::ChannelKey;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::problems::Problem;
use runtime::batch::Held;
use serde_json::value::RawValue;
use store::accept::{Accepted, IdempotencyKey};
use store::prices;

use super::Sent;
use super::cancel::cancel;
use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::error::ApiError;
use crate::identity::secrets::purpose_of;
use crate::orders::accept::{channel_id_reused, commit, replayed};
use crate::orders::read::decisive;
use crate::state::AppState;

/// Takes a document: accepts its order, or cancels the one that it says is off.
pub(super) async fn take(
    state: &AppState,
    arrival: Arrival,
    from: Sent,
    body: &[u8],
    held: Held,
) -> Result<Response, ApiError> {
    let settings = from.settings.clone().unwrap_or_default();
    if settings.dialect == Dialect::Plain {
        return take_plain(state, arrival, from, settings, body, held).await;
    }
    let wanted = "must be a JSON object";
    let document: &RawValue = body::parse_as(body, "not_an_order", wanted)?;
    let Sent { channel, by, key, .. } = from;
    let read = settings.dialect.read(channel, document, &settings, state.accept_deadline);
    let read = read.ok_or_else(|| ApiError::internal(&"a dialect that nobody reads"))?;
    let incoming = read.map_err(ApiError::invalid)?;
    if incoming.is_cancelled {
        return cancel(state, &incoming.order, by).await;
    }
    let own = document_key(&incoming, &settings);
    let is_own = key.is_none() && own.is_some();
    match commit(state, arrival, incoming.order, key.or(own), held).await {
        Err(refused) if is_own && refused.has("key_reused") => {
            let detail = "the platform has sent this document before, with different content";
            Err(ApiError::invalid_one("_id", "duplicate_channel_order_id", detail))
        }
        done => done,
    }
}

/// The document's own name, where the channel's numbers come again: so a late repeat of an old document stays the old order,
/// though its number is another's by now.
fn document_key(incoming: &Incoming, settings: &ChannelSettings) -> Option<IdempotencyKey> {
    settings.unique_days?;
    let key = incoming.order.details.as_ref()?.key.as_ref()?;
    let made_at = incoming.made_at.map(|at| at.unix_timestamp().to_string()).unwrap_or_default();
    Some(IdempotencyKey {
        // Nobody who asks is called so: they all have a kind before their name.
        principal: purpose_of(key.channel.as_str()),
        key: format!("{} {made_at}", incoming.document_id.as_ref()?),
        request_hash: key.content,
        keep: REPEATED,
    })
}

/// How long after its number was given away a document is still known.
const REPEATED: Duration = Duration::from_secs(400 * 86_400);

/// Keeps a document that cannot be taken, so that nothing is lost that a channel sent, even what nobody can read.
pub(super) async fn keep(state: &AppState, from: Sent, document: Vec<u8>, refused: &ApiError) {
    let Some(problems) = refused.refusal() else { return };
    let (channel, paid) = (from.channel, from.paid == Some(true));
    let mut problems = problems.to_vec();
    if problems.is_empty() {
        let detail = "is not JSON".to_owned();
        problems.push(Problem { code: "unreadable", detail, attr: "body".to_owned() });
    }
    // On a connection for what decides: seldom, and the answer is to be true when it says that it is kept.
    let kept = decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::keep(conn, &channel, &document, paid, &problems).await })
    });
    if let Err(error) = kept.await {
        tracing::error!(cause = error.cause.as_deref(), "a refused document could not be kept");
    }
}

/// Takes a document in the plain dialect. What it does not price, the channel's price list does.
async fn take_plain(
    state: &AppState,
    arrival: Arrival,
    from: Sent,
    settings: ChannelSettings,
    body: &[u8],
    held: Held,
) -> Result<Response, ApiError> {
    let Sent { channel, settings: set, paid, key, .. } = from;
    let wanted = "must be a JSON object with channelOrderId and items, each given once";
    let document: &RawValue = body::parse_as(body, "not_an_order", wanted)?;
    if !document.get().starts_with('{') {
        return Err(ApiError::invalid_one("body", "not_an_order", wanted));
    }
    let order = PlainOrder::parse(channel.clone(), document, &settings, paid).map_err(ApiError::invalid)?;
    if order.is_paid() && set.is_none() {
        let detail = "the channel has no settings, so it is not believed to have taken the money";
        return Err(ApiError::invalid_one("paid", "not_believed", detail));
    }
    let name = order.key().clone();
    let list = if order.needs_list() {
        let plus = order.unpriced();
        decisive(state.clone(), move |conn| Box::pin(async move { prices::of(conn, &channel, &plus).await }))
            .await?
    } else {
        PriceList::default()
    };
    match order.priced(&list, &settings, state.accept_deadline) {
        Ok(incoming) => commit(state, arrival, incoming.order, key, held).await,
        Err(problems) => {
            answered_before(state.clone(), name).await?.ok_or_else(|| ApiError::invalid(problems))
        }
    }
}

/// The answer to an order that was accepted when its articles still had prices; `None`: there is no such order.
async fn answered_before(state: AppState, name: ChannelKey) -> Result<Option<Response>, ApiError> {
    let payment_deadline = state.payment_deadline;
    let found = decisive(state, move |conn| {
        Box::pin(async move { store::accept::answered_before(conn, &name).await })
    })
    .await?;
    match found {
        Some(Accepted::Replay(order)) => Ok(Some(replayed(*order, payment_deadline))),
        Some(Accepted::ChannelIdReused(status)) => Err(channel_id_reused(status)),
        _ => Ok(None),
    }
}
