//! `/products/{id}/stock`: what there is of what is counted; managers see it, and put in and take out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use domain::catalogue::product::Product;
use serde::Serialize;
use store::stock::counted::{self, Change, Counted, Stock, What};
use utoipa::ToSchema;
use uuid::Uuid;

use super::articles::{no_product, parse_id};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults, ManagersOnly};
use crate::http::work::to_the_end;
use crate::identity::caller::Keeper;
use crate::orders::read::decisive;
use crate::state::AppState;

/// Most that is put in at once.
const MAX_QUANTITY: i64 = 1_000_000_000;
/// Longest reason.
const MAX_REASON_CHARS: usize = 500;

/// What there is of a variation, or of a product that comes in none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockView {
    /// Null: the product comes in no variations.
    variation_id: Option<Uuid>,
    /// To be had.
    available: i64,
    /// By orders that may end without it: they are still there.
    held: i64,
    /// Handed over.
    sold: i64,
}

/// What there is of a product.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockList {
    stock: Vec<StockView>,
}

impl StockView {
    fn new(product_id: Uuid, stock: Stock) -> Self {
        let Stock { item, available, held, sold } = stock;
        Self { variation_id: (item != product_id).then_some(item), available, held, sold }
    }
}

/// A product of theirs.
async fn product(state: &AppState, by: &Keeper, id: &str) -> Result<Product, ApiError> {
    let shown = state.shelf.fresh().await?;
    let article = shown.article(parse_id(id)?).ok_or_else(no_product)?;
    by.expect_sold_at(&article.product.locations)?;
    Ok(article.product.clone())
}

/// Read what there is of a product.
#[utoipa::path(
    get, path = "/api/v1/products/{id}/stock", tag = "catalogue", operation_id = "read_stock",
    params(("id" = Uuid, Path, description = "The product's id")),
    responses(
        (status = 200, description = "Each variation, or the product; none where it is not counted", body = StockList),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Json<StockList>, ApiError> {
    let product = product(&state, &by, &id).await?;
    let items = product.counted();
    let found = decisive(state, move |conn| Box::pin(async move { counted::of(conn, &items).await })).await?;
    let stock = found.into_iter().map(|one| StockView::new(product.id, one)).collect();
    Ok(Json(StockList { stock }))
}

/// Put in or take out.
///
/// `set`: so many are to be had now. `add`: so many came. `count`: so many lie there, those that are held among them. `ship`: so many
/// left without an order. Each is written down with who did it.
#[utoipa::path(
    post, path = "/api/v1/products/{id}/stock", tag = "catalogue", operation_id = "change_stock",
    params(("id" = Uuid, Path, description = "The product's id")),
    request_body = StockBody,
    responses(
        (status = 200, description = "It is so now", body = StockView),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`out_of_stock`: more would be gone than is there. `not_tracked`: it is not counted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StockView>, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let what = action(&mut fields);
    let quantity = fields.number("quantity", 0..=MAX_QUANTITY);
    if quantity.is_none() {
        fields.require("quantity");
    }
    let variation_id = fields.optional_text("variation_id", 36).and_then(|text| {
        let id = Uuid::try_parse(&text).ok();
        if id.is_none() {
            fields.add("variation_id", "no_id", "must be an id that was given here");
        }
        id
    });
    let reason = fields.optional_text("reason", MAX_REASON_CHARS);
    fields.finish()?;
    let product = product(&state, &by, &id).await?;
    let item = variation_id.unwrap_or(product.id);
    let not_tracked = || {
        let detail = "it is not counted, or comes in variations of which one is to be named";
        ApiError::taken("variation_id", "not_tracked", detail)
    };
    if !product.counted().contains(&item) {
        return Err(not_tracked());
    }
    let (what, quantity) = (what.unwrap_or(What::Set), quantity.unwrap_or(0));
    let ask = Change { id: Uuid::now_v7(), item, what, quantity, by: by.name(), reason };
    to_the_end(async move {
        match state.shelf.change(&ask, |conn, ask| Box::pin(counted::change(conn, ask))).await? {
            Counted::Done(stock) => Ok(Json(StockView::new(product.id, stock))),
            Counted::TooFew(stock) => {
                let detail = format!("{} are available, {} are held", stock.available, stock.held);
                Err(ApiError::taken("quantity", "out_of_stock", &detail))
            }
            Counted::NotTracked => Err(not_tracked()),
        }
    })
    .await
}

fn action(fields: &mut Fields) -> Option<What> {
    let name = fields.text("action", 20)?;
    let known = [("set", What::Set), ("add", What::Add), ("count", What::Count), ("ship", What::Ship)];
    let what = known.into_iter().find(|(known, _)| *known == name).map(|(_, what)| what);
    if what.is_none() {
        fields.add("action", "unknown_action", "must be set, add, count or ship");
    }
    what
}

/// What is done to the stock.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct StockBody {
    /// `set`, `add`, `count` or `ship`.
    #[schema(example = "add", pattern = "^(set|add|count|ship)$")]
    action: String,
    #[schema(example = 52, minimum = 0, maximum = 1_000_000_000)]
    quantity: i64,
    /// Where the product comes in variations: of which.
    variation_id: Option<Uuid>,
    #[schema(max_length = 500)]
    reason: Option<String>,
}
