//! What a client sends of an order, as `openapi.json` describes it. It is read in `domain::order`.

use std::collections::BTreeMap;

use domain::order::adjustments::AdjustmentKind;
use domain::order::details::{Address, Customer, Fulfilment};
use domain::order::payment_method::PaymentMethod;
use utoipa::ToSchema;
use uuid::Uuid;

/// What `POST /orders` takes; documentation only, the parser is `domain::order::NewOrder::parse`.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"customer_id": "customer_123", "total": 30.97, "items": [
    {"item_id": "item_001", "item_name": "Burger", "quantity": 2, "price": 12.99},
    {"item_id": "item_002", "item_name": "Fries", "quantity": 1, "price": 4.99}]}))]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct NewOrderBody {
    /// 1 to 200 characters.
    #[schema(example = "customer_123", min_length = 1, max_length = 200)]
    customer_id: String,
    /// 1 to 200 lines.
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<LineBody>,
    /// ISO 4217 code, in any case. The default is that of its location, or else USD.
    #[schema(example = "USD")]
    currency: Option<String>,
    /// Up to 50 amounts beside the lines, all of which are added.
    #[schema(max_items = 50)]
    adjustments: Option<Vec<AdjustmentBody>>,
    /// What the order comes to. Where it is given, it must be right: else 422 `total_mismatch`.
    #[schema(example = 30.97, minimum = 0, maximum = 10_000_000_000_000_i64)]
    total: Option<f64>,
    /// What is to be minded with the order as a whole: up to 1,000 characters, line breaks among them.
    #[schema(example = "Ring twice", max_length = 1000)]
    note: Option<String>,
    /// Up to 50 names of up to 50 characters and their texts, up to 4,096 bytes as JSON. Kept and shown, and read by nobody here.
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"campaign": "spring"}))]
    metadata: Option<BTreeMap<String, String>>,
    /// How it is paid. The default is by card.
    payment: Option<PaymentMethodBody>,
    /// The channel that sends the order: 1 to 50 characters, in any case. Requires `channel_order_id`.
    #[schema(example = "dishdash", min_length = 1, max_length = 50)]
    channel: Option<String>,
    /// The channel's own id of the order, 1 to 200 characters. The same id again is the same order.
    #[schema(example = "A-1042", min_length = 1, max_length = 200)]
    channel_order_id: Option<String>,
    /// How it is handed over; a `delivery` needs a `delivery_address`.
    fulfilment: Option<Fulfilment>,
    /// Whom to call.
    customer: Option<Customer>,
    /// Where to bring it.
    delivery_address: Option<Address>,
    /// Instead of it, the id of an address that the customer keeps (`/users/me/addresses`); the order takes a copy.
    delivery_address_id: Option<Uuid>,
    /// When the customer fetches the order, RFC 3339.
    #[schema(example = "2026-01-31T18:30:00+01:00")]
    pickup_time: Option<String>,
    /// When the charge is called off if its outcome is not known by then, RFC 3339: a time within seven days. By default 15
    /// minutes after the order is accepted.
    expires_at: Option<String>,
    /// The id of the location that is to make it. The default is `main`.
    #[schema(example = "soho", min_length = 1, max_length = 50)]
    location: Option<String>,
    /// For when it is ordered, RFC 3339: a time within a year. Where that is later than its location's lead time from now, the order is
    /// held until the lead time before: only then it is charged and put before the kitchen. The default is as soon as can be.
    #[schema(example = "2026-01-31T18:30:00Z")]
    wanted_at: Option<String>,
    /// Take what there is of the lines, and leave the rest: the answer says in `left_out` what that is, and the total is that of what
    /// was taken. Not beside `total`, `channel` or a discount. Where nothing at all is there, it is 409 `out_of_stock`. The default is
    /// false: all lines or none.
    allow_partial: Option<bool>,
}

/// One line of a request: something of the catalogue, which `product_id` names; or anything else, which `item_id`, `item_name` and
/// `price` say.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) enum LineBody {
    Item(ItemLineBody),
    Product(ProductLineBody),
}

/// One line of a request that says itself what it is called and what it costs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[schema(example = json!({"item_id": "item_001", "item_name": "Burger", "quantity": 2, "price": 12.99}))]
pub(crate) struct ItemLineBody {
    /// 1 to 200 characters.
    #[schema(example = "item_001", min_length = 1, max_length = 200)]
    item_id: String,
    /// 1 to 500 characters.
    #[schema(example = "Burger", min_length = 1, max_length = 500)]
    item_name: String,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Unit price: a decimal with no more places than the currency has.
    #[schema(example = 12.99, minimum = 0, maximum = 10_000_000_000_000_i64)]
    price: f64,
    /// The till's own code of the article, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// What is to be minded when it is made: up to 1,000 characters.
    #[schema(example = "No nuts", max_length = 1000)]
    note: Option<String>,
    /// What is chosen with it, for each unit. All lines of an order together may have 500, up to 5 deep.
    modifiers: Option<Vec<ModifierBody>>,
    /// Up to 50 amounts beside the line, each for the line as a whole.
    #[schema(max_items = 50)]
    adjustments: Option<Vec<AdjustmentBody>>,
}

/// One line of a request that names a product of the catalogue, which says what it is called and what it costs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[schema(example = json!({"product_id": "01995f1c-7a3e-7c40-8d15-2f7a9b63c0de", "quantity": 2}))]
pub(crate) struct ProductLineBody {
    /// The product; what the catalogue does not have is 422 `unknown_product`.
    product_id: Uuid,
    /// Where the product comes in variations: which one.
    variation_id: Option<Uuid>,
    /// What is chosen with the product, for each unit; as many of each group as it wants.
    options: Option<Vec<ChosenBody>>,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// May be left out; where it is given, it must be the catalogue's, without options: else 409 `price_mismatch`.
    #[schema(example = 12.99, minimum = 0, maximum = 10_000_000_000_000_i64)]
    price: Option<f64>,
    /// The till's own code of the article, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// What is to be minded when it is made: up to 1,000 characters.
    #[schema(example = "No nuts", max_length = 1000)]
    note: Option<String>,
}

/// An option of a product, chosen.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChosenBody {
    id: Uuid,
    /// How many for each unit; 1 where it is left out.
    #[schema(minimum = 1, maximum = 100)]
    quantity: Option<i32>,
}

/// One line of an order.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ItemBody {
    /// 1 to 200 characters.
    #[schema(example = "item_001", min_length = 1, max_length = 200)]
    item_id: String,
    /// 1 to 500 characters.
    #[schema(example = "Burger", min_length = 1, max_length = 500)]
    item_name: String,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Unit price: a plain decimal with no more places than the currency has.
    #[schema(example = 12.99, minimum = 0)]
    price: f64,
    /// The till's own code of the article, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// What is to be minded when it is made: up to 1,000 characters.
    #[schema(example = "No nuts", max_length = 1000)]
    note: Option<String>,
    /// What is chosen with it, for each unit. All lines of an order together may have 500, up to 5 deep.
    modifiers: Option<Vec<ModifierBody>>,
    /// Up to 50 amounts beside the line, each for the line as a whole.
    #[schema(max_items = 50)]
    adjustments: Option<Vec<AdjustmentBody>>,
}

/// Something chosen with an article, or with something chosen.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ModifierBody {
    /// 1 to 200 characters.
    #[schema(example = "mod_001", min_length = 1, max_length = 200)]
    id: Option<String>,
    /// 1 to 500 characters.
    #[schema(example = "Extra cheese", min_length = 1, max_length = 500)]
    name: String,
    /// How many for each unit of what it belongs to, 1 to 10,000. The default is 1.
    #[schema(example = 1, minimum = 1, maximum = 10000)]
    quantity: Option<i32>,
    /// Unit price; below zero where it makes the article cheaper. The default is 0.
    #[schema(example = 1.50, minimum = -10_000_000_000_000_i64, maximum = 10_000_000_000_000_i64)]
    price: Option<f64>,
    /// The till's own code of it, 1 to 200 characters.
    #[schema(example = "M-CHEESE", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// What is to be minded when it is made: up to 1,000 characters.
    #[schema(example = "crushed", max_length = 1000)]
    note: Option<String>,
    /// What is chosen with it, for each unit of it.
    #[schema(no_recursion)]
    modifiers: Option<Vec<ModifierBody>>,
}

/// An amount beside the lines, or beside one line.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct AdjustmentBody {
    /// What for. A `discount` takes off and must not be above zero; `rounding` and `other` may be either; all others must not be
    /// below zero.
    kind: AdjustmentKind,
    /// What it is called, 1 to 500 characters.
    #[schema(example = "Happy hour", min_length = 1, max_length = 500)]
    name: Option<String>,
    /// With its sign.
    #[schema(example = -1.50, minimum = -10_000_000_000_000_i64, maximum = 10_000_000_000_000_i64)]
    amount: f64,
}

/// How an order is paid.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct PaymentMethodBody {
    /// `card` (the default): charged at the gateway. `on_delivery`: never charged; the order is CONFIRMED at once and says what is
    /// `due`. `elsewhere`: the channel took the money; only from staff and services. An order that comes to 0 is CONFIRMED at once,
    /// too.
    method: Option<PaymentMethod>,
    /// The caller's own name for the payment, 1 to 200 characters; refunds show it. No other payment of the order may have it.
    #[schema(example = "table-7", min_length = 1, max_length = 200)]
    reference: Option<String>,
    /// The gateway's name for what is charged, 1 to 200 characters. By card only.
    #[schema(example = "pm_1a2b3c", min_length = 1, max_length = 200)]
    gateway_payment_method: Option<String>,
    /// The gateway's name for who pays, 1 to 200 characters. By card only, and only from the house and its services: else 403.
    #[schema(example = "cus_1a2b3c", min_length = 1, max_length = 200)]
    gateway_customer: Option<String>,
}
