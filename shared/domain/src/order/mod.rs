//! The order: as it may be accepted, and as it is stored.

pub mod additions;
pub mod adjustments;
pub mod collected;
pub mod details;
pub mod forgetting;
pub mod lines;
mod metadata;
pub mod modifiers;
pub mod moves;
pub mod partial;
pub mod parts;
pub mod payment_method;
pub mod request;
pub mod status;

use std::time::Duration;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use self::adjustments::AdjustmentKind;
use self::details::{Address, Details, NewDetails};
use self::lines::Item;
use self::partial::Partial;
use self::payment_method::{NoCharge, Uncharged};
use self::request::CartRef;
use self::status::OrderStatus;
use crate::catalogue::menu::Take;
use crate::channel::name::ChannelName;
use crate::limits::ACCEPT_IN;
use crate::location::{Location, MAIN};
use crate::money::Money;
use crate::origin::Origin;

/// An order as it may be accepted. Made only by parsing, so it cannot be wrong.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// UUIDv7: time-ordered, so that the newest orders share index pages.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: String,
    /// The lines as JSON, an array of [`Item`].
    pub items: Box<RawValue>,
    /// The sum over all lines and all that is beside them.
    pub total: Money,
    /// What few orders have: a channel, amounts beside the lines, and to whom and how it is handed over.
    pub details: Option<Box<NewDetails>>,
    /// Whether the catalogue has said what any of its lines costs. Not stored.
    pub from_catalogue: bool,
    /// How long the kitchen has to take it, where its location says so.
    pub accept_in: Option<Duration>,
    /// What of its lines is counted. Stored as what it holds.
    pub takes: Vec<Take>,
    /// What it was made of. Not stored: it is no more.
    pub cart: Option<CartRef>,
    /// Where there is less than it takes, it is cut to that. Not stored.
    pub partial: Option<Box<Partial>>,
    /// The request that it came with, as far as that goes on with its payment. Not stored.
    pub origin: Option<Box<Origin>>,
}

impl NewOrder {
    /// Of its own charge, and so the gateway's idempotency key for good: the order's own id. Whoever looks for the
    /// payments of an order finds this one by its primary key, and only later ones through an index of their own.
    pub const fn payment_id(&self) -> Uuid {
        self.id
    }

    /// An order of lines that were checked.
    pub(crate) fn new(customer_id: String, items: &[Item], total: Money) -> Self {
        Self {
            id: Uuid::now_v7(),
            customer_id,
            items: serde_json::value::to_raw_value(items).expect("strings, integers and decimals are JSON"),
            total,
            details: None,
            from_catalogue: false,
            accept_in: None,
            takes: Vec::new(),
            cart: None,
            partial: None,
            origin: None,
        }
    }

    /// Which of its customer's addresses it is to be brought to, where that is to be looked up.
    pub fn address_id(&self) -> Option<Uuid> {
        self.details.as_ref()?.address_id
    }

    /// It is to be brought there.
    pub fn bring_to(&mut self, address: Address) {
        if let Some(details) = &mut self.details {
            details.handover.delivery_address = Some(address);
        }
    }

    /// Which of its times has passed: that for which it is wanted, or that at which its charge is called off.
    pub fn has_passed(&self, now: OffsetDateTime) -> Option<&'static str> {
        let details = self.details.as_ref()?;
        let passed = |at: Option<OffsetDateTime>| at.is_some_and(|at| at <= now);
        let times = [("wanted_at", details.wanted_at), ("expires_at", details.expires_at)];
        times.into_iter().find(|(_, at)| passed(*at)).map(|(name, _)| name)
    }

    /// Whether it is one for later, so that its charge waits.
    pub fn is_held(&self, now: OffsetDateTime) -> bool {
        self.details.as_ref().and_then(|details| details.held_until).is_some_and(|until| until > now)
    }

    /// Whether it has a discount beside its lines.
    pub fn is_reduced(&self) -> bool {
        let all = self.details.iter().flat_map(|details| &details.adjustments);
        all.into_iter().any(|one| one.kind == AdjustmentKind::Discount)
    }

    /// Whether it is accepted by a transaction of its own, and not with others.
    pub const fn goes_alone(&self) -> bool {
        self.cart.is_some() || self.partial.is_some()
    }

    /// The channel whose own name for it the order has.
    pub fn channel(&self) -> Option<&ChannelName> {
        self.details.as_ref().and_then(|details| details.key.as_ref()).map(|key| &key.channel)
    }

    /// The order with these details, and confirmed from the start where nothing is charged for it.
    pub(crate) fn with(mut self, mut details: NewDetails) -> Self {
        let because = NoCharge::of(self.total.minor(), details.payment.method);
        details.uncharged = because.map(|because| Uncharged { because, accept_in: ACCEPT_IN });
        self.details = Some(Box::new(details));
        self
    }

    /// Why nothing is charged for it, and how long the kitchen has for it from the start; `None`: it is charged.
    pub fn uncharged(&self) -> Option<Uncharged> {
        self.details.as_ref().and_then(|details| details.uncharged)
    }

    /// Whether it says by the gateway's own name who is to pay.
    pub fn names_gateway_customer(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.payment.gateway_customer.is_some())
    }

    /// Whether its channel took the money.
    pub fn is_paid_elsewhere(&self) -> bool {
        self.uncharged().is_some_and(|one| one.because == NoCharge::Elsewhere)
    }

    /// Where it is to be made.
    pub fn location(&self) -> &str {
        self.details.as_ref().and_then(|details| details.location.as_deref()).unwrap_or(MAIN)
    }

    /// The order at this location.
    #[must_use]
    pub fn at(mut self, place: &Location) -> Self {
        self.accept_in = place.accept_in;
        if !place.is_main() {
            let details = self.details.get_or_insert_default();
            details.location = Some(place.id.clone());
            if let Some(key) = &mut details.key {
                key.location = Some(place.id.clone());
            }
        }
        if let Some(details) = &mut self.details {
            details.held_until = details.wanted_at.and_then(|at| place.held_until(at));
        }
        self
    }

    /// The kitchen has `accept_in` to take it, should it be confirmed from the start and its location not say otherwise.
    pub fn to_be_taken_within(&mut self, accept_in: Duration) {
        let accept_in = self.accept_in.unwrap_or(accept_in);
        if let Some(partial) = &mut self.partial {
            partial.accept_in = accept_in;
        }
        if let Some(uncharged) = self.details.as_mut().and_then(|details| details.uncharged.as_mut()) {
            uncharged.accept_in = accept_in;
        }
    }

    /// The order as it is stored, once it is accepted, at this moment.
    pub fn as_accepted(self, created_at: OffsetDateTime) -> Order {
        let uncharged = self.uncharged();
        let (location, details) = self.details.map_or((None, None), |details| {
            (details.location.clone(), Some(Box::new(details.as_stored(created_at))))
        });
        let held_until = details.as_ref().and_then(|details| details.held_until);
        Order {
            id: self.id,
            customer_id: self.customer_id,
            location,
            status: if uncharged.is_some() { OrderStatus::Confirmed } else { OrderStatus::Pending },
            items: self.items,
            total: self.total,
            version: 1,
            created_at,
            updated_at: created_at,
            accept_by: uncharged.map(|one| held_until.unwrap_or(created_at) + one.accept_in),
            cancel_wish: None,
            details,
        }
    }
}

/// An order as it is stored.
#[derive(Debug, Clone)]
pub struct Order {
    /// UUIDv7.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: String,
    /// Where it is made; `None`: at the first location.
    pub location: Option<String>,
    /// Where it stands.
    pub status: OrderStatus,
    /// The lines as JSON, an array of [`Item`].
    pub items: Box<RawValue>,
    /// The sum over all lines and all that is beside them.
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
    pub details: Option<Box<Details>>,
}

impl Order {
    /// Where it is made.
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or(MAIN)
    }

    /// Whether its channel took the money.
    pub fn is_paid_elsewhere(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.is_paid_elsewhere())
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
