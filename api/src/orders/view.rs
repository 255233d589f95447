//! An order as a client sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use domain::money::Money;
use domain::order::adjustments::Adjustment;
use domain::order::details::{Address, Customer, Fulfilment, LeftOut};
use domain::order::moves::Actor;
use domain::order::payment_method::{Payment, PaymentMethod};
use domain::order::status::OrderStatus;
use domain::order::{CancelWish, NewOrder, Order};
use domain::payment::{AttemptAction, AttemptOutcome, PaymentKind, PaymentStatus};
use serde::Serialize;
use serde_json::value::RawValue;
use store::read::{Attempt, Paid, Whole};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::tag::tagged;
use crate::orders::body::ItemBody;

/// Bytes of a plain order's JSON beside its items, and some to spare.
const BESIDE_ITEMS: usize = 512;

/// Of an order whose channel took the money, and of which nothing else is said: `paid_by` says so.
const ELSEWHERE: Payment = Payment {
    method: PaymentMethod::Elsewhere,
    reference: None,
    gateway_payment_method: None,
    gateway_customer: None,
};

/// An order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderView {
    /// UUIDv7.
    pub id: Uuid,
    /// The client's own id of the customer.
    pub customer_id: String,
    /// Where it is made. Left out where that is `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "soho")]
    pub location: Option<String>,
    /// Where the order stands.
    pub status: OrderStatus,
    /// The lines with the prices of the time at which the order was accepted.
    #[schema(value_type = Vec<ItemBody>)]
    pub items: Box<RawValue>,
    /// Of an order with `allow_partial`: the lines of which there was too little, each with how many were asked for and how many it
    /// has. Left out where there was enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Of a channel's order that takes stock by its plus: the lines of which there was too little in stock, each with how many it wants
    /// and how many were there. It wants them still: the kitchen makes them, or rejects the order. Left out where there was enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short: Vec<LeftOut>,
    /// Amounts beside the lines: fees, tips, taxes, discounts. Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// The sum over all lines and adjustments, exact.
    #[schema(value_type = f64, example = 30.97)]
    pub total: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: &'static str,
    /// 1 when the order is accepted; every change adds 1.
    pub version: i32,
    /// When it was accepted.
    #[serde(with = "crate::http::times")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "crate::http::times")]
    pub updated_at: OffsetDateTime,
    /// The kitchen must accept the order before this time. Null until the order is confirmed.
    #[serde(with = "crate::http::times::option")]
    pub accept_by: Option<OffsetDateTime>,
    /// When the order's charge is called off, should its outcome not be known by then: the order ends as `PAYMENT_FAILED`, as
    /// soon as it is certain that nothing was taken. Left out of lists, and once the outcome is known.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::http::times::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// For when it was ordered. Left out where that is as soon as can be.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::http::times::option")]
    pub wanted_at: Option<OffsetDateTime>,
    /// Of an order for later: until then it is neither charged nor put before the kitchen, and ends at once where it is cancelled.
    /// Left out of all others.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::http::times::option")]
    pub held_until: Option<OffsetDateTime>,
    /// A cancellation that waits until the outcome of the charge is known; null where there is none.
    pub cancel_requested: Option<CancelView>,
    /// The channel that sent the order, in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The channel's own id of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order_id: Option<String>,
    /// How it is handed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfilment: Option<Fulfilment>,
    /// Whom to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
    /// Where to bring it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_address: Option<Address>,
    /// When the customer fetches the order, exactly as the client sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31T18:30:00+01:00")]
    pub pickup_time: Option<String>,
    /// What is to be minded with the order as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What else its client wants to know of it, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"campaign": "spring"}))]
    pub metadata: Option<Box<RawValue>>,
    /// How it is paid. Left out where it is charged by card and nothing else was said, and where its channel took the money. The
    /// gateway's own names are shown to the house and its services alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// The same with the gateway's own names, which are for the house and its services: see [`OrderView::shown_to`].
    #[serde(skip)]
    with_names: Option<Payment>,
    /// What is still to be paid when the order is handed over. Left out of lists, and where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 30.97)]
    pub due: Option<Box<RawValue>>,
    /// `channel`: the channel took the money, so nothing is charged here. Left out where the order is charged here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "channel")]
    pub paid_by: Option<&'static str>,
    /// The order was rejected or cancelled after money had been taken elsewhere, and whoever took it must give it back: the
    /// `channel`, or the `house`, whose staff took it in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "channel")]
    pub refund_by: Option<&'static str>,
    /// For each status that the order has had, when it last got it. Left out of lists and of the answer to a new order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"PENDING": "2026-01-01T12:00:00Z"}))]
    pub timestamps: Option<Timestamps>,
    /// The charges and refunds of the order, oldest first. Left out of lists and of the answer to a new order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<Vec<PaymentView>>,
    /// All tries of its payments, oldest first. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_attempts: Option<Vec<AttemptView>>,
}

impl OrderView {
    /// An order that was accepted just now. Its charge has `payment_deadline`, unless it says otherwise itself.
    pub(crate) fn accepted(order: NewOrder, created_at: OffsetDateTime, payment_deadline: Duration) -> Self {
        Self::as_accepted(order.as_accepted(created_at), payment_deadline)
    }

    /// The answer to an order that was accepted, as it was then.
    pub(crate) fn as_accepted(order: Order, payment_deadline: Duration) -> Self {
        let own = order.details.as_ref().and_then(|details| details.expires_at);
        let held_until = order.details.as_ref().and_then(|details| details.held_until);
        let is_charged = order.status == OrderStatus::Pending;
        let from = held_until.unwrap_or(order.created_at);
        let expires_at = is_charged.then(|| own.unwrap_or(from + payment_deadline));
        let details = order.details.as_ref();
        let is_due = details.is_some_and(|details| details.payment.method == PaymentMethod::OnDelivery);
        let due = is_due.then(|| order.total.to_json());
        // Written in place: a view is a kilobyte.
        let mut view = Self::in_list(order);
        view.expires_at = expires_at;
        view.due = due;
        view.payment_attempts = Some(Vec::new());
        view
    }

    /// As it is sent, in one piece of memory for all but the longest: [`axum::Json`] would begin with too little, and append
    /// word by word to a buffer that is dear to append to.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(BESIDE_ITEMS + self.items.get().len());
        serde_json::to_writer(&mut json, self).expect("strings, numbers and times of this age are JSON");
        json
    }

    /// As it is sent where somebody may want to know later whether it has changed.
    pub(crate) fn tagged(&self) -> Response {
        tagged(self.version, self.to_json())
    }

    /// An order as it stands, without its attempts.
    pub(crate) fn in_list(order: Order) -> Self {
        let paid = order.is_paid_elsewhere();
        let kept = order.details.as_ref().is_some_and(|details| details.kept);
        let given_back = matches!(order.status, OrderStatus::Rejected | OrderStatus::Cancelled) && !kept;
        let in_hand = order.details.as_ref().is_some_and(|details| details.collected);
        let details = order.details.map(|details| *details).unwrap_or_default();
        let handover = details.handover;
        let (channel, channel_order_id) = details.channel.unzip();
        let (left_out, short) =
            if channel.is_some() { (Vec::new(), details.left_out) } else { (details.left_out, Vec::new()) };
        let is_named = details.payment.is_named_at_gateway();
        let payment = details.payment.without_names();
        let is_said = payment != Payment::default() && payment != ELSEWHERE;
        Self {
            id: order.id,
            customer_id: order.customer_id,
            location: order.location,
            status: order.status,
            items: order.items,
            left_out,
            short,
            adjustments: details.adjustments,
            total: order.total.to_json(),
            currency: order.total.currency().code(),
            version: order.version,
            created_at: order.created_at,
            updated_at: order.updated_at,
            accept_by: order.accept_by,
            expires_at: None,
            wanted_at: details.wanted_at,
            held_until: details.held_until,
            cancel_requested: order.cancel_wish.map(CancelView::from),
            channel,
            channel_order_id,
            fulfilment: handover.fulfilment,
            customer: handover.customer,
            delivery_address: handover.delivery_address,
            pickup_time: handover.pickup_time,
            note: handover.note,
            metadata: details.metadata,
            payment: is_said.then_some(payment),
            with_names: is_named.then_some(details.payment),
            due: None,
            paid_by: paid.then_some("channel"),
            refund_by: match (paid, in_hand) {
                (true, _) if given_back => Some("channel"),
                (false, true) if given_back => Some("house"),
                _ => None,
            },
            timestamps: None,
            payments: None,
            payment_attempts: None,
        }
    }

    /// As these see it. By the gateway's own names money can be taken: who orders learns none of them, were it by an order of their
    /// own that a service has named.
    pub(crate) fn shown_to(mut self, by: &Actor) -> Self {
        if by.is_of_the_house() && self.with_names.is_some() {
            self.payment = self.with_names.take();
        }
        self
    }

    /// The answer to an order that comes again: as it stands, in the shape of the first answer.
    pub(crate) fn again(whole: Whole, payment_deadline: Duration) -> Self {
        Self { timestamps: None, payments: None, ..Self::whole(whole, payment_deadline) }
    }

    /// An order as it stands.
    pub(crate) fn whole(whole: Whole, payment_deadline: Duration) -> Self {
        let Whole { order, payments, attempts, events } = whole;
        // Its own charge; or the one that pays it anew.
        let is_awaited = |one: &&Paid| one.is_open_charge() && !one.is_addition;
        let awaited = payments.iter().find(is_awaited);
        let from = |one: &Paid| one.held_until.unwrap_or(one.created_at);
        let expires_at = awaited.map(|one| one.expires_at.unwrap_or(from(one) + payment_deadline));
        let attempts = attempt_views(attempts);
        let due: i64 = payments
            .iter()
            .filter(|one| one.status == PaymentStatus::Due)
            .map(|one| one.amount.minor())
            .sum();
        let due = (due > 0).then(|| Money::from_minor(due, order.total.currency()).to_json());
        Self {
            due,
            timestamps: Some(Timestamps(
                events.iter().filter_map(|event| Some((event.to?.as_str(), Time(event.at)))).collect(),
            )),
            payments: Some(payments.into_iter().map(PaymentView::from).collect()),
            payment_attempts: Some(attempts),
            expires_at,
            ..Self::in_list(order)
        }
    }
}

/// When an order last came to stand at each status.
#[derive(Debug, Serialize)]
pub(crate) struct Timestamps(BTreeMap<&'static str, Time>);

#[derive(Debug, Serialize)]
struct Time(#[serde(with = "crate::http::times")] OffsetDateTime);

/// A cancellation that was asked for while the charge was under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CancelView {
    /// When.
    #[serde(with = "crate::http::times")]
    pub at: OffsetDateTime,
    /// By whom.
    pub by: String,
    /// Why, if the caller said so.
    pub reason: Option<String>,
}

impl From<CancelWish> for CancelView {
    fn from(CancelWish { at, by, reason }: CancelWish) -> Self {
        Self { at, by, reason }
    }
}

/// A charge or a refund.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentView {
    /// UUID: the gateway's idempotency key.
    pub id: Uuid,
    /// `charge` or `refund`; and what the gateway knows nothing of: `elsewhere` (the channel took the money), `on_delivery` (paid
    /// when the order is handed over) and `free` (nothing is to be paid).
    #[schema(value_type = String)]
    pub kind: PaymentKind,
    /// `held` (of an order for later, until its time comes; or an addition whose order is not paid yet), `due` (to be paid when the order is handed over), `pending`, `processing`, `waiting`, `succeeded` or `failed`.
    #[schema(value_type = String)]
    pub status: PaymentStatus,
    /// The exact amount.
    #[schema(value_type = f64, example = 30.97)]
    pub amount: Box<RawValue>,
    /// The client's own name for this payment; of a refund, for the charge that it gives back.
    pub reference: Option<String>,
    /// For a refund: the charge that it gives back.
    pub refund_of: Option<Uuid>,
    /// For a refund: `rejected`, `cancelled`, `no_show`, `accept_deadline`, `late_capture`, ...; for a failed charge: the gateway's code.
    pub reason: Option<String>,
    /// Whether this is the charge of an addition.
    pub is_addition: bool,
    /// When the payment was created.
    #[serde(with = "crate::http::times")]
    pub created_at: OffsetDateTime,
}

impl From<Paid> for PaymentView {
    fn from(paid: Paid) -> Self {
        Self {
            id: paid.id,
            kind: paid.kind,
            status: paid.status,
            amount: paid.amount.to_json(),
            reference: paid.reference,
            refund_of: paid.refund_of,
            reason: paid.reason,
            is_addition: paid.is_addition,
            created_at: paid.created_at,
        }
    }
}

/// One try at the payment gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// The payment.
    pub payment_id: Uuid,
    /// Counts the tries of the payment from 1.
    pub number: i32,
    /// How many tries before this one are not shown: of a payment that was tried very often the first and the last are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_shown_before: Option<i32>,
    /// What was asked: `charge` or `refund`.
    #[schema(value_type = String)]
    pub action: AttemptAction,
    /// How it ended: `succeeded`, `declined`, `voided`, `pending`, `in_doubt`, `refused`, `unavailable`, `misconfigured` or
    /// `abandoned`; null while under way.
    #[schema(value_type = Option<String>)]
    pub outcome: Option<AttemptOutcome>,
    /// A machine code: the gateway's, or this service's.
    pub code: Option<String>,
    /// A text for people.
    pub message: Option<String>,
    /// When the try began, before the gateway was asked.
    #[serde(with = "crate::http::times")]
    pub started_at: OffsetDateTime,
    /// When it ended; null while it is under way.
    #[serde(with = "crate::http::times::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Tries as they are shown. A void takes no money and is no try to: it stands in the history's reason, not here.
fn attempt_views(attempts: Vec<Attempt>) -> Vec<AttemptView> {
    let mut shown = Vec::with_capacity(attempts.len());
    let mut before = None;
    for attempt in attempts {
        let last =
            before.filter(|(payment, _)| *payment == attempt.payment_id).map_or(0, |(_, number)| number);
        before = Some((attempt.payment_id, attempt.number));
        let between = attempt.number - last - 1;
        if attempt.action != AttemptAction::Void {
            shown.push(AttemptView::new(attempt, (between > 0).then_some(between)));
        }
    }
    shown
}

impl AttemptView {
    fn new(attempt: Attempt, not_shown_before: Option<i32>) -> Self {
        Self {
            payment_id: attempt.payment_id,
            number: attempt.number,
            not_shown_before,
            action: attempt.action,
            outcome: attempt.outcome,
            code: attempt.code,
            message: attempt.message,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
        }
    }
}

/// One page of orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderPage {
    /// Newest first.
    pub orders: Vec<OrderView>,
    /// How many orders match, as far as they were counted: up to 10,000.
    pub total: usize,
    /// Whether there may be more than `total`.
    pub total_capped: bool,
    /// The number of this page, from 1.
    pub page: usize,
    /// The most orders that a page has. It may have fewer, or none, though more follow: where few of the orders match, a page
    /// ends where enough of them were looked at.
    pub page_size: usize,
    /// Pass this as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<Uuid>,
}

#[cfg(test)]
mod tests {
    use domain::order::payment_method::{NoCharge, Uncharged};
    use domain::order::request::OrderRequest;
    use time::macros::datetime;

    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0199_5f1c_7a3e_7c40_8d15_2f7a_9b63_c0de);
    const LINE: &str = r#"{"item_id":"i","item_name":"n \"1\"","quantity":2,"price":5"#;

    #[test]
    fn of_very_many_tries_it_is_told_how_many_are_not_shown() {
        let at = datetime!(2026-01-31 12:00 UTC);
        let attempt = |payment: u128, number, action| Attempt {
            payment_id: Uuid::from_u128(payment),
            kind: PaymentKind::Charge,
            number,
            action,
            outcome: None,
            code: None,
            message: None,
            started_at: at,
            finished_at: None,
        };
        let (charge, void) = (AttemptAction::Charge, AttemptAction::Void);
        let all =
            [(1, 1, charge), (1, 2, charge), (1, 40, charge), (1, 41, void), (2, 1, charge), (2, 5, charge)];
        let views =
            attempt_views(all.map(|(payment, number, action)| attempt(payment, number, action)).into());
        let shown: Vec<_> = views.iter().map(|one| (one.number, one.not_shown_before)).collect();
        assert_eq!(shown, [(1, None), (2, None), (40, Some(37)), (1, None), (5, Some(3))]);
        assert!(!serde_json::to_string(&views[0]).unwrap().contains("not_shown"));
    }

    /// The answer to an order with these fields, as its writer has accepted it.
    fn answer(fields: &str, accept_in: Option<Duration>) -> String {
        let body = format!(r#"{{"customer_id":"é","items":[{LINE}}}]{fields}}}"#);
        let asked: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
        let mut order = NewOrder { id: ID, ..NewOrder::parse(&asked).unwrap() };
        let uncharged = accept_in.map(|accept_in| Uncharged { because: NoCharge::Elsewhere, accept_in });
        if let (Some(details), Some(_)) = (&mut order.details, uncharged) {
            details.payment.method = PaymentMethod::Elsewhere;
            details.uncharged = uncharged;
        }
        let view = OrderView::accepted(order, datetime!(2026-01-31 17:02:11.5 UTC), Duration::from_secs(900));
        String::from_utf8(view.to_json()).unwrap()
    }

    /// What every such answer has, and what this one has in three places.
    fn expected(status: &str, money: [&str; 3], accept_by: &str, beside: &str) -> String {
        let expires = if status == "PENDING" { r#""expires_at":"2026-01-31T17:17:11.500000Z","# } else { "" };
        let [price, total, currency] = money;
        let line = LINE.strip_suffix('5').unwrap();
        format!(
            r#"{{"id":"{ID}","customer_id":"é","status":"{status}","items":[{line}{price}}}],"total":{total},"#
        ) + &format!(r#""currency":"{currency}","version":1,"created_at":"2026-01-31T17:02:11.500000Z","#)
            + &format!(r#""updated_at":"2026-01-31T17:02:11.500000Z","accept_by":{accept_by},"#)
            + expires
            + &format!(r#""cancel_requested":null,{beside}"payment_attempts":[]}}"#)
    }

    #[test]
    fn the_answer_to_an_order_is_this_to_the_byte() {
        let usd = ["5.00", "10.00", "USD"];
        assert_eq!(answer("", None), expected("PENDING", usd, "null", ""));
        let yen = r#","currency":"JPY""#;
        assert_eq!(answer(yen, None), expected("PENDING", ["5", "10", "JPY"], "null", ""));

        let details = r#""fulfilment":"delivery","customer":{"name":"Ada"},"#.to_owned()
            + r#""delivery_address":{"street":"s","city":"c"},"pickup_time":"2026-01-31T18:30:00+01:00","#;
        let fields = format!(",{}", details.trim_end_matches(','));
        assert_eq!(answer(&fields, None), expected("PENDING", usd, "null", &details));

        let channel = r#""channel":"dish","channel_order_id":"A-1","#;
        let fields = r#","channel":"Dish","channel_order_id":"A-1""#;
        assert_eq!(answer(fields, None), expected("PENDING", usd, "null", channel));
        let (paid, by) = (format!(r#"{channel}"paid_by":"channel","#), r#""2026-01-31T17:07:11.500000Z""#);
        assert_eq!(answer(fields, Some(Duration::from_secs(300))), expected("CONFIRMED", usd, by, &paid));
    }
}
