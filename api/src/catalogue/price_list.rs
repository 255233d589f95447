//! `GET` and `PUT /internal/channels/{channel}/prices`: what a channel's articles cost where its orders do not say. On the
//! operators' address only: whoever sets prices is no client.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use domain::channel::name::ChannelName;
use domain::channel::price_list::{PriceList, PriceListRequest};
use serde::Serialize;
use serde_json::value::RawValue;
use store::prices;

use crate::http::body;
use crate::http::channel::channel_name;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;
use crate::operations::state::Internal;

/// A channel's whole list.
#[derive(Debug, Serialize)]
pub(crate) struct PriceListView {
    channel: ChannelName,
    /// Null: the list is empty.
    currency: Option<&'static str>,
    /// By plu.
    prices: Vec<PriceView>,
}

/// What one article costs.
#[derive(Debug, Serialize)]
struct PriceView {
    plu: String,
    /// Exact.
    price: Box<RawValue>,
}

impl PriceListView {
    fn new(channel: ChannelName, list: PriceList) -> Self {
        let sorted: BTreeMap<_, _> = list.prices.into_iter().collect();
        let prices = sorted.into_iter().map(|(plu, price)| PriceView { plu, price: price.to_json() });
        Self { channel, currency: list.currency.map(|currency| currency.code()), prices: prices.collect() }
    }
}

/// The list; an empty one where there is none.
pub(crate) async fn read(
    State(state): State<Internal>,
    _: Manager,
    Path(channel): Path<String>,
) -> Result<Json<PriceListView>, ApiError> {
    let channel = channel_name(&channel)?;
    let view = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        let list = prices::all(&mut conn, &channel).await?;
        Ok::<_, sqlx::Error>(PriceListView::new(channel, list))
    });
    Ok(Json(view.await?))
}

/// Replaces the list with `{currency?, prices: [{plu, price}]}`, and gives it back.
pub(crate) async fn replace(
    State(state): State<Internal>,
    _: Manager,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PriceListView>, ApiError> {
    let channel = channel_name(&channel)?;
    let body = body::read_json(&headers, body, &state.room).await?;
    let request: PriceListRequest<'_> = body::parse(&body)?;
    let list = PriceList::parse(&request).map_err(ApiError::invalid)?;
    let view = to_the_end(async move {
        let input = (channel, list);
        let mut session = state.session.lock().await;
        session.run(&input, |conn, (channel, list)| Box::pin(prices::replace(conn, channel, list))).await?;
        Ok::<_, store::session::StoreError>(PriceListView::new(input.0, input.1))
    });
    Ok(Json(view.await?))
}
