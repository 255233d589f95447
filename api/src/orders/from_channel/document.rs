//! The aggregators' document, as `openapi.json` describes it. It is read in `domain::channel::dialect`.

/// The aggregators' document.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelOrderBody {
    /// The aggregator's id; kept as it came.
    #[schema(rename = "_id")]
    id: Option<String>,
    /// When the order came to be there; kept as it came.
    created: Option<String>,
    /// The merchant's there; kept as it came.
    account: Option<String>,
    /// Kept as it came.
    brand_id: Option<String>,
    /// What the channel calls it, 1 to 200 characters.
    #[schema(example = "A-1042", min_length = 1, max_length = 200)]
    channel_order_id: String,
    /// Whom to call.
    customer: Option<ChannelCustomer>,
    /// Where to bring it; what has one is a delivery.
    delivery_address: Option<ChannelAddress>,
    /// When it is fetched, RFC 3339.
    #[schema(example = "2026-01-31T18:30:00Z")]
    pickup_time: Option<String>,
    /// When it is to be there, RFC 3339; counts where there is no `pickupTime`.
    #[schema(example = "2026-01-31T18:50:00Z")]
    delivery_time: Option<String>,
    /// The till's name for the location that is to make it; the channel's settings say which of ours that is.
    pos_location_id: Option<String>,
    /// The same, by the channel's own name.
    // Not one of ours.
    #[schema(pattern = "^.*$")]
    location: Option<String>,
    /// The same, by the name of what joins both.
    channel_link: Option<String>,
    /// What it is called for people; shown in the order's note.
    #[schema(example = "#17", max_length = 500)]
    channel_order_display_id: Option<String>,
    /// Where it is eaten; shown in the order's note.
    #[schema(example = "12", max_length = 500)]
    table: Option<String>,
    /// How many eat it; shown in the order's note.
    #[schema(minimum = 0, maximum = 10000)]
    number_of_customers: Option<i32>,
    /// What is to be minded, up to 1,000 characters.
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// 1 to 200 lines.
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<ChannelItem>,
    /// ISO 4217 code; where it is left out, that of the channel's settings, of its price list, or else of its location.
    currency: Option<String>,
    /// As the parameter `paid`.
    order_is_already_paid: Option<bool>,
    /// Kept as it came; no status of ours, but for `100`, `110` and `cancelled`: the order is off.
    #[schema(value_type = Option<Object>)]
    status: Option<serde_json::Value>,
    /// Kept as it came.
    #[schema(value_type = Option<Vec<Object>>)]
    status_history: Option<serde_json::Value>,
}

/// One line of the document.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelItem {
    /// 1 to 500 characters.
    #[schema(example = "Burger", min_length = 1, max_length = 500)]
    name: String,
    /// What the till calls it, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Unit price, a plain decimal; where it is left out, that of the channel's price list.
    #[schema(example = 12.99, minimum = 0)]
    price: Option<f64>,
    /// What is chosen with it, for each unit: lines as this one.
    #[schema(no_recursion)]
    sub_items: Option<Vec<ChannelItem>>,
    /// To be minded when it is made.
    remark: Option<String>,
}

/// Whom to call.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelCustomer {
    /// 1 to 500 characters.
    name: Option<String>,
    /// The channel's own id of the diner.
    id: Option<String>,
    /// As it comes, up to 40 characters.
    phone_number: Option<String>,
    /// What to dial behind the number; shown in the order's note.
    #[schema(max_length = 500)]
    phone_access_code: Option<String>,
    /// Shown in the order's note.
    #[schema(max_length = 500)]
    email: Option<String>,
    /// Shown in the order's note.
    #[schema(max_length = 500)]
    company_name: Option<String>,
    /// What is to be minded with whoever ordered, up to 1,000 characters.
    #[schema(max_length = 1000)]
    note: Option<String>,
}

/// Where to bring it.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelAddress {
    /// 1 to 500 characters.
    street: Option<String>,
    /// 1 to 100 characters.
    city: Option<String>,
    /// 1 to 100 characters.
    postal_code: Option<String>,
}
