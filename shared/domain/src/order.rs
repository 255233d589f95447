//! The order: what it is made of, what a client may send, and the one table of legal moves. No I/O.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::details::{DetailsRequest, Extra, NewExtra, SNAKE_CASE};
use crate::money::{Currency, Money};
use crate::origin::Origin;
use crate::payment::new_payment_id;
use crate::problems::{Place, Problems};
pub use crate::problems::{Problem, text_problem};

/// Where an order stands. In capitals on the wire; read case-insensitively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "order_status", rename_all = "SCREAMING_SNAKE_CASE")
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Accepted and durable; its payment is not yet claimed.
    Pending,
    /// A worker has claimed its payment at least once.
    PaymentProcessing,
    /// Paid. The kitchen has until `accept_by`.
    Confirmed,
    /// Declined, or given up with the key void: nothing was taken.
    PaymentFailed,
    /// The kitchen took it.
    Accepted,
    /// Being made.
    Preparing,
    /// Waiting to be handed over.
    Ready,
    /// Handed over. Final.
    Delivered,
    /// The kitchen refused it, or let the deadline pass; refunded. Final.
    Rejected,
    /// Cancelled; nothing is kept. Final.
    Cancelled,
}

/// The one table of legal moves. The database refuses all others (`migrations/`, trigger `orders_legal_move`);
/// a test compares the two.
pub const LEGAL_MOVES: [(OrderStatus, OrderStatus); 17] = {
    use OrderStatus::{
        Accepted, Cancelled, Confirmed, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing,
        Ready, Rejected,
    };
    [
        (Pending, PaymentProcessing),
        (Pending, Cancelled),
        (PaymentProcessing, Confirmed),
        (PaymentProcessing, PaymentFailed),
        (PaymentProcessing, Cancelled),
        (PaymentFailed, PaymentProcessing),
        (PaymentFailed, Cancelled),
        (Confirmed, Accepted),
        (Confirmed, Preparing),
        (Confirmed, Rejected),
        (Confirmed, Cancelled),
        (Accepted, Preparing),
        (Accepted, Cancelled),
        (Preparing, Ready),
        (Preparing, Accepted),
        (Preparing, Cancelled),
        (Ready, Delivered),
    ]
};

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::PaymentProcessing,
        Self::Confirmed,
        Self::PaymentFailed,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Delivered,
        Self::Rejected,
        Self::Cancelled,
    ];

    /// Whether the table of moves allows `self -> to`.
    pub fn may_become(self, to: Self) -> bool {
        LEGAL_MOVES.contains(&(self, to))
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::PaymentProcessing => "PAYMENT_PROCESSING",
            Self::Confirmed => "CONFIRMED",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::Accepted => "ACCEPTED",
            Self::Preparing => "PREPARING",
            Self::Ready => "READY",
            Self::Delivered => "DELIVERED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads a name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

/// One line of an order, as it was priced when the order came in. Stored and shown in this shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// The client's id of the article.
    pub item_id: String,
    /// Its name.
    pub item_name: String,
    /// How many, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Unit price: exact decimal in the order's currency.
    pub price: Box<RawValue>,
    /// What the till calls it, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plu: Option<String>,
}

/// What `POST /orders` carries, before anything is known of it but that it is a JSON object. Fields are kept raw,
/// so that one that is missing or of the wrong type is a problem with a place, like any other.
#[derive(Debug, Deserialize)]
pub struct OrderRequest<'a> {
    #[serde(borrow)]
    customer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    fulfilment: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
    #[serde(borrow)]
    delivery_address: Option<&'a RawValue>,
    #[serde(borrow)]
    pickup_time: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct ItemRequest<'a> {
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    item_name: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    plu: Option<&'a RawValue>,
}

/// An order as it may be accepted. Made only by parsing, so it cannot be wrong.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// UUIDv7: time-ordered, so that the newest orders share index pages.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: String,
    /// The lines as JSON, an array of [`Item`].
    pub items: Box<RawValue>,
    /// The sum over all lines.
    pub total: Money,
    /// What few orders have: a channel, and to whom and how it is handed over.
    pub extra: Option<Box<NewExtra>>,
    /// The request that it came with, as far as that goes on with its payment. Not stored.
    pub origin: Option<Box<Origin>>,
}

/// Longest id or key a client may give: 200 characters hold any UUID, ULID or URN in use.
pub const MAX_ID_CHARS: usize = 200;
/// Longest name of an article.
pub const MAX_NAME_CHARS: usize = 500;
/// Most lines in an order: 200 keep the row and every event of it on a page or two.
pub const MAX_ITEMS: usize = 200;
/// Most of one article.
pub const MAX_QUANTITY: u32 = 10_000;
/// Currency of an order that names none.
pub const DEFAULT_CURRENCY: Currency = Currency::USD;

impl NewOrder {
    /// Of its own charge, and so the gateway's idempotency key for good: the order's own id. Whoever looks for the
    /// payments of an order finds this one by its primary key, and only later ones through an index of their own.
    pub const fn payment_id(&self) -> Uuid {
        self.id
    }

    /// Checks everything about a request and gives it its ids; all that is wrong comes back at once.
    pub fn parse(request: &OrderRequest<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let customer_id = problems.text("customer_id", request.customer_id, MAX_ID_CHARS);
        let currency = problems.currency(request.currency).unwrap_or(DEFAULT_CURRENCY);
        let (items, total) = priced(&mut problems, request.items, currency);
        let details = request.details().parse(&SNAKE_CASE, &mut problems);
        let key = problems.channel_key(request.channel, request.channel_order_id);
        match (customer_id, total) {
            (Some(customer_id), Some(total)) if problems.0.is_empty() => {
                let mut order = Self::new(customer_id, &items, total);
                if key.is_some() || !details.is_empty() {
                    order.extra = Some(Box::new(NewExtra::of_request(&order, details, key)));
                }
                Ok(order)
            }
            _ => Err(problems.0),
        }
    }

    /// An order of lines that were checked.
    pub(crate) fn new(customer_id: String, items: &[Item], total: Money) -> Self {
        Self {
            id: Uuid::now_v7(),
            customer_id,
            items: serde_json::value::to_raw_value(items).expect("strings, integers and decimals are JSON"),
            total,
            extra: None,
            origin: None,
        }
    }

    /// How long the kitchen has for it from the start: where its channel took the money, so that it needs no charge.
    pub fn paid_elsewhere(&self) -> Option<Duration> {
        self.extra.as_ref().and_then(|extra| extra.paid_elsewhere)
    }
}

impl<'a> OrderRequest<'a> {
    const fn details(&self) -> DetailsRequest<'a> {
        let Self { fulfilment, customer, delivery_address, pickup_time, .. } = *self;
        DetailsRequest { fulfilment, customer, delivery_address, pickup_time }
    }
}

/// What `POST /orders/{id}/items` carries.
#[derive(Debug, Deserialize)]
pub struct AdditionRequest<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_reference: Option<&'a RawValue>,
}

/// More lines for an order, as they may be added. Made only by [`NewAddition::parse`].
#[derive(Debug, Clone)]
pub struct NewAddition {
    /// Of its charge: the gateway's idempotency key, fixed here for good.
    pub payment_id: Uuid,
    /// The lines.
    pub items: Vec<Item>,
    /// The sum over them.
    pub amount: Money,
    /// The client's name for the charge.
    pub reference: String,
}

impl NewAddition {
    /// Checks everything about a request to add to this order, which is in this currency.
    pub fn parse(
        request: &AdditionRequest<'_>,
        order_id: Uuid,
        currency: Currency,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let reference = problems.text("payment_reference", request.payment_reference, MAX_ID_CHARS);
        let (items, amount) = priced(&mut problems, request.items, currency);
        match (reference, amount) {
            (Some(reference), Some(amount)) if problems.0.is_empty() => {
                Ok(Self { payment_id: new_payment_id(order_id), items, amount, reference })
            }
            _ => Err(problems.0),
        }
    }
}

/// `items` and what is added to them: the same article at the same price adds to its quantity. `None`: more lines, or
/// more of one, than an order may have.
pub fn add_items(mut items: Vec<Item>, added: &[Item]) -> Option<Vec<Item>> {
    for line in added {
        match items.iter_mut().find(|item| item.is_same(line)) {
            Some(item) => item.quantity = item.quantity.checked_add(line.quantity)?,
            None => items.push(line.clone()),
        }
    }
    let fits = items.len() <= MAX_ITEMS && items.iter().all(|item| item.quantity <= MAX_QUANTITY);
    fits.then_some(items)
}

/// `items` without what was added to them; a line of which nothing is left goes.
pub fn take_off(mut items: Vec<Item>, added: &[Item]) -> Vec<Item> {
    for line in added {
        if let Some(item) = items.iter_mut().find(|item| item.is_same(line)) {
            item.quantity = item.quantity.saturating_sub(line.quantity);
        }
    }
    items.retain(|item| item.quantity > 0);
    items
}

impl Item {
    /// The same article at the same price. Another plu is another article to the till, and so is none.
    fn is_same(&self, other: &Self) -> bool {
        self.item_id == other.item_id
            && self.item_name == other.item_name
            && self.price.get() == other.price.get()
            && self.plu == other.plu
    }
}

impl ItemRequest<'_> {
    /// The line and its sum, or `None` with the problems noted.
    fn parse(&self, index: usize, currency: Currency, problems: &mut Problems) -> Option<(Item, Money)> {
        let attr = |field| Place { list: "items", index, field };
        let item_id = problems.text(attr("item_id"), self.item_id, MAX_ID_CHARS);
        let item_name = problems.text(attr("item_name"), self.item_name, MAX_NAME_CHARS);
        let quantity = problems.quantity(attr("quantity"), self.quantity);
        let price = problems.price(attr("price"), self.price, currency);
        let plu = problems.optional_text(attr("plu"), self.plu, MAX_ID_CHARS);
        let (quantity, price) = (quantity?, price?);
        let sum = problems.times(attr("price"), price, quantity)?;
        Some((Item { item_id: item_id?, item_name: item_name?, quantity, price: price.to_json(), plu }, sum))
    }
}

/// The lines and their sum, or no sum with the problems noted.
fn priced(problems: &mut Problems, raw: Option<&RawValue>, currency: Currency) -> (Vec<Item>, Option<Money>) {
    let lines = lines::<ItemRequest<'_>>(problems, raw);
    let priced = lines.iter().enumerate().filter_map(|(index, line)| line.parse(index, currency, problems));
    let priced: Vec<_> = priced.collect();
    sum(problems, priced, currency)
}

/// Lines that are priced each, and the sum over them, or none with the problem noted.
pub(crate) fn sum(
    problems: &mut Problems,
    priced: Vec<(Item, Money)>,
    currency: Currency,
) -> (Vec<Item>, Option<Money>) {
    let mut total = Some(Money::from_minor(0, currency));
    let mut items = Vec::with_capacity(priced.len());
    for (item, sum) in priced {
        items.push(item);
        total = total.and_then(|total| total.checked_add(sum));
    }
    if total.is_none() {
        problems.add("items", "too_large", "the total is too large");
    } else if total.is_some_and(|total| total.minor() == 0) && problems.0.is_empty() {
        problems.add("items", "nothing_to_pay", "the total must be above zero");
    }
    (items, total)
}

/// The lines, still raw; none where something is wrong with the list as a whole.
pub(crate) fn lines<'a, T: Deserialize<'a>>(problems: &mut Problems, raw: Option<&'a RawValue>) -> Vec<T> {
    let Some(raw) = problems.present("items", raw) else { return Vec::new() };
    let (code, detail) = match serde_json::from_str::<Vec<T>>(raw.get()) {
        Err(_) => ("not_a_list", "must be a list of objects, each field given once".to_owned()),
        Ok(lines) if lines.is_empty() => ("empty", "must have at least one item".to_owned()),
        Ok(lines) if lines.len() > MAX_ITEMS => ("too_many", format!("must have at most {MAX_ITEMS} items")),
        Ok(lines) => return lines,
    };
    problems.add("items", code, detail);
    Vec::new()
}

/// An order as it is stored.
#[derive(Debug, Clone)]
pub struct Order {
    /// UUIDv7.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: String,
    /// Where it stands.
    pub status: OrderStatus,
    /// The lines as JSON, an array of [`Item`].
    pub items: Box<RawValue>,
    /// The sum over all lines.
    pub total: Money,
    /// 1 when accepted, one more with every change.
    pub version: i32,
    /// When it was accepted, by the database's clock.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    /// Until when the kitchen may take it; set when it is confirmed.
    pub accept_by: Option<OffsetDateTime>,
    /// That it is to be cancelled once its charge is known.
    pub cancel_wish: Option<CancelWish>,
    /// What few orders have: a channel, and to whom and how it is handed over.
    pub extra: Option<Box<Extra>>,
}

impl Order {
    /// Whether its channel took the money.
    pub fn is_paid_elsewhere(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.paid_elsewhere)
    }
}

/// A cancellation that was asked for while the charge was under way.
#[derive(Debug, Clone)]
pub struct CancelWish {
    /// When.
    pub at: OffsetDateTime,
    /// By whom.
    pub by: String,
    /// Why, where it was said.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<NewOrder, Vec<Problem>> {
        NewOrder::parse(&serde_json::from_str(json).unwrap())
    }

    fn one_item(quantity: &str, price: &str) -> String {
        format!(
            r#"{{"customer_id":"c","items":[{{"item_id":"i","item_name":"n","quantity":{quantity},"price":{price}}}]}}"#
        )
    }

    fn first_problem(json: &str) -> (String, &'static str) {
        let problem = parse(json).unwrap_err().remove(0);
        (problem.attr, problem.code)
    }

    #[test]
    fn a_good_order_has_an_exact_total_and_keeps_its_decimals() {
        let order = parse(&one_item("2", "12.50")).unwrap();
        assert_eq!(order.total.to_string(), "25.00");
        assert_eq!(order.items.get(), r#"[{"item_id":"i","item_name":"n","quantity":2,"price":12.50}]"#);
    }

    #[test]
    fn the_same_article_adds_to_its_quantity_and_can_be_taken_off_again() {
        let item = |id: &str, quantity, price: &str| Item {
            item_id: id.into(),
            item_name: id.into(),
            quantity,
            price: RawValue::from_string(price.to_owned()).unwrap(),
            plu: None,
        };
        let shown = |items: &[Item]| serde_json::to_string(items).unwrap();
        let order = vec![item("a", 1, "2.00"), item("b", 3, "1.00")];
        let more = [item("a", 2, "2.00"), item("a", 1, "1.50"), item("c", 1, "9.00")];
        let all = add_items(order.clone(), &more).unwrap();
        assert_eq!(
            shown(&all),
            shown(&[item("a", 3, "2.00"), item("b", 3, "1.00"), item("a", 1, "1.50"), item("c", 1, "9.00")])
        );
        assert_eq!(shown(&take_off(all, &more)), shown(&order));
        assert!(add_items(order.clone(), &[item("b", MAX_QUANTITY - 2, "1.00")]).is_none());
        let many: Vec<Item> = (0..MAX_ITEMS - 1).map(|n| item(&n.to_string(), 1, "1.00")).collect();
        assert!(add_items(order, &many).is_none());
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let of = |quantity, price| first_problem(&one_item(quantity, price));
        assert_eq!(of("0", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("-5", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("3000000000", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(of("1", "12.999"), ("items[0].price".into(), "too_precise"));
        assert_eq!(of("1", "-1"), ("items[0].price".into(), "negative"));
        assert_eq!(of("1", "\"1\""), ("items[0].price".into(), "not_decimal"));
        assert_eq!(of("\"2\"", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("1.5", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("2.0", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("1e1", "1"), ("items[0].quantity".into(), "not_whole"));
        assert_eq!(of("-0", "1"), ("items[0].quantity".into(), "out_of_range"));
        assert_eq!(first_problem("{}"), ("customer_id".into(), "required"));
        assert_eq!(first_problem(r#"{"customer_id":7,"items":[]}"#), ("customer_id".into(), "not_text"));
        assert_eq!(first_problem(r#"{"customer_id":"c","items":[1]}"#), ("items".into(), "not_a_list"));
        assert_eq!(
            first_problem(r#"{"customer_id":"c","items":[{}]}"#),
            ("items[0].item_id".into(), "required")
        );
        assert_eq!(of("1", "0"), ("items".into(), "nothing_to_pay"));
        assert_eq!(of("10000", "9999999999"), ("items[0].price".into(), "too_large"));
        assert_eq!(first_problem(r#"{"customer_id":"c","items":[]}"#), ("items".into(), "empty"));
        assert_eq!(first_problem(r#"{"customer_id":" ","items":[]}"#), ("customer_id".into(), "empty"));
        let nul = one_item("1", "1").replace("\"n\"", "\"a\\u0000b\"");
        assert_eq!(first_problem(&nul), ("items[0].item_name".into(), "control_character"));
        let both = parse(&one_item("0", "-1")).unwrap_err();
        assert_eq!(both.len(), 2, "all problems come at once");
    }

    #[test]
    fn final_statuses_have_no_way_out_and_names_are_read_in_any_case() {
        for from in [OrderStatus::Delivered, OrderStatus::Rejected, OrderStatus::Cancelled] {
            assert!(OrderStatus::ALL.iter().all(|to| !from.may_become(*to)));
        }
        assert_eq!(OrderStatus::parse("payment_Failed"), Some(OrderStatus::PaymentFailed));
        assert_eq!(OrderStatus::parse("nonsense"), None);
        for status in OrderStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
    }
}
