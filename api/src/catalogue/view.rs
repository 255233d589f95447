//! What a client sees of the catalogue, and sends to change it.

use domain::catalogue::category::Category;
use domain::catalogue::product::{Choice, OptionGroup, Product, Variation};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// A product.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductView<'p> {
    /// UUIDv7.
    id: Uuid,
    #[schema(example = "Latte")]
    name: &'p str,
    description: Option<&'p str>,
    /// What one costs, exact; of a product that comes in variations the lowest price of those.
    #[schema(value_type = f64, example = 3.50)]
    price: Box<RawValue>,
    /// Of all its prices.
    #[schema(example = "USD")]
    currency: &'static str,
    category_id: Option<Uuid>,
    picture_url: Option<&'p str>,
    /// What the till calls it. Left out where nobody said so, and where it comes in variations, which have theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "P-LATTE")]
    plu: Option<&'p str>,
    /// Whether it is counted: what there is not, cannot be ordered.
    tracked: bool,
    /// There is none, of no variation.
    pub(super) sold_out: bool,
    /// Where it is sold.
    #[schema(example = json!(["main"]))]
    locations: &'p [String],
    /// What it comes in; an order names one of them.
    variations: Vec<PricedView<'p>>,
    /// What can be chosen with it.
    option_groups: Vec<OptionGroupView<'p>>,
}

/// A variation, or an option.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PricedView<'p> {
    id: Uuid,
    #[schema(example = "Large")]
    name: &'p str,
    /// Of a variation: what one costs. Of an option: what it adds for each unit, below zero where it takes off.
    #[schema(value_type = f64, example = 4.50)]
    price: Box<RawValue>,
    /// Of a variation: what the till calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plu: Option<&'p str>,
    /// Of a variation of what is counted: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    sold_out: Option<bool>,
}

/// Options that belong together.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OptionGroupView<'p> {
    id: Uuid,
    #[schema(example = "Syrups")]
    name: &'p str,
    /// How many have to be chosen.
    min: u32,
    /// How many may be.
    max: u32,
    options: Vec<PricedView<'p>>,
}

impl<'p> ProductView<'p> {
    pub(crate) fn new(product: &'p Product, is_there: impl Fn(Uuid) -> bool) -> Self {
        let gone = |id| product.tracked.then(|| !is_there(id));
        let variation = |one: &'p Variation| PricedView {
            id: one.id,
            name: &one.name,
            price: product.money(one.price_minor).to_json(),
            plu: one.plu.as_deref(),
            sold_out: gone(one.id),
        };
        let option = |one: &'p Choice| PricedView {
            id: one.id,
            name: &one.name,
            price: product.money(one.price_minor).to_json(),
            plu: None,
            sold_out: None,
        };
        let group = |one: &'p OptionGroup| OptionGroupView {
            id: one.id,
            name: &one.name,
            min: one.min,
            max: one.max,
            options: one.options.iter().map(option).collect(),
        };
        Self {
            id: product.id,
            name: &product.name,
            description: product.description.as_deref(),
            price: product.price.to_json(),
            currency: product.currency().code(),
            category_id: product.category_id,
            picture_url: product.picture_url.as_deref(),
            plu: product.plu.as_deref(),
            tracked: product.tracked,
            sold_out: product.tracked && !product.counted().into_iter().any(&is_there),
            locations: &product.locations,
            variations: product.variations.iter().map(variation).collect(),
            option_groups: product.option_groups.iter().map(group).collect(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }
}

/// A page of products, in the order in which they were made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductPage<'p> {
    products: Vec<ProductView<'p>>,
    /// Of the next page; null: this is the last.
    next_cursor: Option<Uuid>,
}

/// A category.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryView {
    /// UUIDv7.
    id: Uuid,
    #[schema(example = "Hot drinks")]
    name: String,
    /// Small ones first.
    position: i32,
}

impl From<Category> for CategoryView {
    fn from(Category { id, name, position }: Category) -> Self {
        Self { id, name, position }
    }
}

/// All categories, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryList {
    pub(crate) categories: Vec<CategoryView>,
}

/// A product as it is to be.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductBody {
    /// No other product of the same locations may be called so.
    #[schema(example = "Latte", min_length = 1, max_length = 500)]
    name: String,
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// What one costs; 0 is a price, too. Left out where there are variations.
    #[schema(example = 3.50, minimum = 0, maximum = 10_000_000_000_000_i64)]
    price: Option<f64>,
    /// ISO 4217; `USD` where it is left out.
    #[schema(example = "USD")]
    currency: Option<String>,
    category_id: Option<Uuid>,
    /// Begins with `https://` or `http://`.
    #[schema(max_length = 2000)]
    picture_url: Option<String>,
    /// What the till calls it, where it comes in no variations. No other product of one of its locations may be called so. A channel
    /// that is set so takes its stock by it.
    #[schema(example = "P-LATTE", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// Whether it is counted: none of it is there until somebody puts it in (`POST /products/{id}/stock`). `false` where it is left
    /// out: then there is always enough.
    tracked: Option<bool>,
    /// Where it is sold; `["main"]` where it is left out.
    #[schema(min_items = 1, max_items = 100)]
    locations: Option<Vec<String>>,
    #[schema(max_items = 50)]
    variations: Option<Vec<VariationBody>>,
    #[schema(max_items = 20)]
    option_groups: Option<Vec<OptionGroupBody>>,
}

/// A variation.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct VariationBody {
    /// Of one that is there: it stays the same one. Without it, the one that is called so stays.
    id: Option<Uuid>,
    #[schema(example = "Large", min_length = 1, max_length = 500)]
    name: String,
    /// What one costs.
    #[schema(example = 4.50, minimum = 0, maximum = 10_000_000_000_000_i64)]
    price: f64,
    /// What the till calls it.
    #[schema(min_length = 1, max_length = 200)]
    plu: Option<String>,
}

/// An option.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct ChoiceBody {
    /// Of one that is there: it stays the same one. Without it, the one that is called so stays.
    id: Option<Uuid>,
    #[schema(example = "Large", min_length = 1, max_length = 500)]
    name: String,
    /// What it adds for each unit, below zero where it takes off; 0 where it is left out.
    #[schema(example = 4.50, minimum = -10_000_000_000_000_i64, maximum = 10_000_000_000_000_i64)]
    price: Option<f64>,
}

/// Options that belong together.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct OptionGroupBody {
    id: Option<Uuid>,
    #[schema(example = "Syrups", min_length = 1, max_length = 500)]
    name: String,
    /// How many have to be chosen; 0 where it is left out.
    #[schema(minimum = 0, maximum = 100)]
    min: Option<u32>,
    /// How many may be; as many as there are options where it is left out.
    #[schema(minimum = 1, maximum = 100)]
    max: Option<u32>,
    #[schema(min_items = 1, max_items = 50)]
    options: Vec<ChoiceBody>,
}

/// What is to change of a product.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductChange {
    /// No other product of the same locations may be called so.
    #[schema(example = "Latte", min_length = 1, max_length = 500)]
    name: Option<String>,
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// What one costs. Not where there are variations.
    #[schema(example = 3.50, minimum = 0, maximum = 10_000_000_000_000_i64)]
    price: Option<f64>,
    /// That which it has: to change it, send the product as a whole.
    #[schema(example = "USD")]
    currency: Option<String>,
    category_id: Option<Uuid>,
    /// Begins with `https://` or `http://`.
    #[schema(max_length = 2000)]
    picture_url: Option<String>,
    /// What the till calls it. Not where there are variations.
    #[schema(example = "P-LATTE", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// Whether it is counted.
    tracked: Option<bool>,
    /// Where it is sold.
    #[schema(min_items = 1, max_items = 100)]
    locations: Option<Vec<String>>,
    /// All of them: one that is left out is gone.
    #[schema(max_items = 50)]
    variations: Option<Vec<VariationBody>>,
    /// All of them: one that is left out is gone.
    #[schema(max_items = 20)]
    option_groups: Option<Vec<OptionGroupBody>>,
}

/// What is to change of a category.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryChange {
    /// No other category may be called so.
    #[schema(example = "Hot drinks", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Small ones first.
    #[schema(minimum = 0, maximum = 1_000_000)]
    position: Option<i32>,
}

/// A category as it is to be.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryBody {
    /// No other category may be called so.
    #[schema(example = "Hot drinks", min_length = 1, max_length = 100)]
    name: String,
    /// Small ones first; 0 where it is left out.
    #[schema(minimum = 0, maximum = 1_000_000)]
    position: Option<i32>,
}
