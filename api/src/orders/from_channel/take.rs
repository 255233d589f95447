//! What becomes of a document: its order is accepted, or the one called off that it says is off; `kept.rs` has what can be neither.

use axum::response::Response;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::dialect::{Dialect, Incoming};
use domain::channel::name::ChannelKey;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::location::{Location, MAIN};
use domain::money::Currency;
use runtime::batch::Held;
use serde_json::value::RawValue;
use store::accept::Accepted;
use store::prices;

use super::Sent;
use super::cancel::{cancel, overtaken};
use super::own_name::named;
use super::tell::tell;
use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::error::ApiError;
use crate::orders::accept::{answer, write};
use crate::orders::answers::channel_id_reused;
use crate::orders::earlier;
use crate::orders::read::decisive;
use crate::state::AppState;

/// Takes a document: accepts its order, writes down what it says otherwise of one that is there, or cancels the one that it says
/// is off.
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
    let settings = in_its_currency(state, settings, document).await?;
    let read = settings.dialect.read(from.channel.clone(), document, &settings, state.accept_deadline);
    let read = read.ok_or_else(|| ApiError::internal(&"a dialect that nobody reads"))?;
    let is_off = read.as_ref().map_or(true, |incoming| incoming.is_cancelled);
    if let Some(off) = is_off.then(|| settings.dialect.called_off(document, &settings)).flatten() {
        return cancel(state, from.channel, off, from.by).await;
    }
    place(state, arrival, from, read.map_err(ApiError::invalid)?, held).await
}

/// Hands in the order of a document. Where it came before, the document is its channel's word of it today.
async fn place(
    state: &AppState,
    arrival: Arrival,
    from: Sent,
    incoming: Incoming,
    held: Held,
) -> Result<Response, ApiError> {
    let Sent { channel, settings, by, key, .. } = from;
    let by_plu = settings.as_ref().is_some_and(|settings| settings.products_by_plu);
    let incoming = at_its_location(state, incoming, by_plu).await?;
    if !by.may_act_at(incoming.order.location()) {
        return Err(ApiError::forbidden("the token is for another location"));
    }
    let told = incoming.told();
    let location = incoming.order.location().to_owned();
    let settings = settings.unwrap_or_default();
    let reused = settings.unique_days.is_some();
    let number =
        incoming.order.details.as_ref().and_then(|details| Some(details.key.as_ref()?.order_id.clone()));
    let content = incoming.order.details.as_ref().and_then(|details| Some(details.key.as_ref()?.content));
    let own = content.filter(|_| reused).and_then(|content| named(&channel, &incoming.document, content));
    let is_own = key.is_none() && own.is_some();
    let (order, became) = write(state, arrival, incoming.order, key.clone().or(own), held).await?;
    if matches!(became, Accepted::KeyReused) && is_own {
        let detail = "the platform has sent this document before, with different content";
        return Err(ApiError::invalid_one("_id", "duplicate_channel_order_id", detail));
    }
    if let (Accepted::KeyReused, Some(key)) = (&became, &key) {
        return earlier::told(state, key.clone(), &by).await;
    }
    if matches!(became, Accepted::New { .. } | Accepted::Partly(_) | Accepted::Replay(_)) {
        // Of one that came before, too: whoever looked the first time may have got no further.
        let number = number.unwrap_or_default();
        let off = overtaken(state, channel, &settings, number, &location, &incoming.document, by.clone());
        match off.await {
            Ok(Some(off)) => return Ok(off),
            // It goes on: the kitchen has begun with it, say.
            Err(refusal) if refusal.is_refusal() => {}
            Ok(None) => {}
            // It is durable, and sent again it is looked for again.
            Err(fault) => return Err(fault),
        }
    }
    match (became, told) {
        (Accepted::Replay(earlier), _) if earlier.location() != location => {
            let detail =
                format!("the order was given to {}: cancel it there, and send it anew", earlier.location());
            Err(ApiError::invalid_one("location", "another_location", detail))
        }
        (Accepted::Replay(earlier), Some(told)) => tell(state, earlier.id, told, by, key).await,
        (became, _) => answer(state, &by, order, became),
    }
}

/// The order at the location that the document names. What is wanted later waits for its lead time.
/// `by_plu`: it takes the stock of what its plus name there.
async fn at_its_location(state: &AppState, incoming: Incoming, by_plu: bool) -> Result<Incoming, ApiError> {
    let id = incoming.location.as_deref().unwrap_or(MAIN);
    let place = open(state, id).await?.ok_or_else(|| {
        let detail = format!("the settings of the channel lead to {id}, which takes no orders");
        ApiError::invalid_one("location", "unknown_location", detail)
    })?;
    let mut order = incoming.order.at(&place);
    if by_plu {
        order = order.counted_by_plu(&*state.shelf.fresh().await?);
    }
    order.to_be_taken_within(state.accept_deadline);
    Ok(Incoming { order, ..incoming })
}

/// The settings with the currency of the location that the document names, where none is set for the channel.
async fn in_its_currency(
    state: &AppState,
    mut settings: ChannelSettings,
    document: &RawValue,
) -> Result<ChannelSettings, ApiError> {
    if settings.currency.is_none() {
        let location = settings.dialect.location(document, &settings);
        settings.currency = currency_at(state, location.as_deref()).await?;
    }
    Ok(settings)
}

/// Of orders at a location that name none; `None`: it takes no orders.
async fn currency_at(state: &AppState, location: Option<&str>) -> Result<Option<Currency>, ApiError> {
    Ok(open(state, location.unwrap_or(MAIN)).await?.map(|place| place.currency))
}

/// A location that takes orders. It may be new to this api.
async fn open(state: &AppState, id: &str) -> Result<Option<Location>, ApiError> {
    let mut seen = state.places.now().await?;
    if seen.open.get(id).is_none() {
        seen = state.places.anew().await?;
    }
    Ok(seen.open.get(id).cloned())
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
    let channel = from.channel.clone();
    let wanted = "must be a JSON object with channelOrderId and items, each given once";
    let document: &RawValue = body::parse_as(body, "not_an_order", wanted)?;
    if !document.get().starts_with('{') {
        return Err(ApiError::invalid_one("body", "not_an_order", wanted));
    }
    if let Some(off) = Dialect::Plain.called_off(document, &settings) {
        return cancel(state, channel, off, from.by).await;
    }
    let order =
        PlainOrder::parse(channel.clone(), document, &settings, from.paid).map_err(ApiError::invalid)?;
    if order.is_paid() && from.settings.is_none() {
        let detail = "the channel has no settings, so it is not believed to have taken the money";
        return Err(ApiError::invalid_one("paid", "not_believed", detail));
    }
    let mut list = if order.needs_list() {
        let plus = order.unpriced();
        decisive(state.clone(), move |conn| Box::pin(async move { prices::of(conn, &channel, &plus).await }))
            .await?
    } else {
        PriceList::default()
    };
    if list.currency.is_none() {
        list.currency = currency_at(state, order.location()).await?;
    }
    let (name, told) = (order.key().clone(), order.told());
    match order.priced(&list, &settings, state.accept_deadline) {
        Ok(incoming) => place(state, arrival, from, incoming, held).await,
        Err(problems) => match answered_before(state, name).await? {
            // It was accepted when its articles still had prices.
            Some(Accepted::Replay(earlier)) => tell(state, earlier.id, told, from.by, from.key).await,
            Some(Accepted::ChannelIdReused(status)) => Err(channel_id_reused(status)),
            _ => Err(ApiError::invalid(problems)),
        },
    }
}

/// What came before under this name; `None`: nothing did.
async fn answered_before(state: &AppState, name: ChannelKey) -> Result<Option<Accepted>, ApiError> {
    decisive(state.clone(), move |conn| {
        Box::pin(async move { store::accept::answered_before(conn, &name).await })
    })
    .await
}
