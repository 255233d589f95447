//! What `POST /orders` carries, and the order that comes of it.

use super::NewOrder;
use super::adjustments::adjustments;
use super::details::{HandoverRequest, NewDetails, SNAKE_CASE};
use super::lines::{Priced, priced};
use super::metadata::metadata;
use super::partial::Partial;
use super::parts::{expect, sum_up};
use super::payment_method::payment;
use crate::catalogue::menu::{Menu, MenuAt, NoMenu};
use crate::channel::name::{ChannelKey, ChannelName};
use crate::fields::fields;
use crate::limits::MAX_NOTE_CHARS;
use crate::location::{Location, Locations, MAX_LOCATION_CHARS};
use crate::money::{Currency, Money};
use crate::problems::{At, Problem, Problems};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

fields! {
    /// What `POST /orders` carries, before anything is known of it but that it is a JSON object. Fields are kept raw,
    /// so that one that is missing or of the wrong type is a problem with a place, like any other.
    pub struct OrderRequest {
        customer_id,
        items,
        currency,
        adjustments,
        total,
        note,
        metadata,
        payment,
        channel,
        channel_order_id,
        fulfilment,
        customer,
        delivery_address,
        pickup_time,
        expires_at,
        location,
        wanted_at,
        delivery_address_id,
        allow_partial,
    }
}

impl NewOrder {
    /// The same in a house of one location and without a catalogue.
    pub fn parse(request: &OrderRequest<'_>) -> Result<Self, Vec<Problem>> {
        Self::parse_with(request, &Locations::default(), &NoMenu)
    }

    /// Checks everything about a request and gives it its ids; all that is wrong comes back at once. What its location says holds for
    /// what it leaves open.
    pub fn parse_with(
        request: &OrderRequest<'_>,
        places: &Locations,
        menu: &dyn Menu,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &request.odd);
        let customer_id = problems.id("customer_id", request.customer_id);
        let place = problems.location(request.location, places);
        let currency = problems.currency(request.currency).unwrap_or(place.currency);
        let priced = priced(&mut problems, request.items, currency, &MenuAt { menu, location: &place.id });
        let beside = At::Top.field("adjustments");
        let (adjustments, beside) = adjustments(&mut problems, &beside, request.adjustments, currency);
        let is_reduced = adjustments.iter().any(|one| one.minor(currency).is_none_or(|minor| minor < 0));
        let whole_only = [("total", request.total), ("channel", request.channel)];
        let beside_it = (beside, is_reduced);
        let partial = Partial::read(&mut problems, request.allow_partial, &priced, beside_it, whole_only);
        let Priced { items, sum: lines, from_catalogue, takes, .. } = priced;
        let total = request.total(&mut problems, lines, beside, currency);
        let mut handover = request.handover().parse(&SNAKE_CASE, &mut problems);
        handover.note = problems.note("note", request.note, MAX_NOTE_CHARS);
        let address_id = request.delivery_address_id.and_then(|raw| problems.address_id(raw));
        if request.delivery_address_id.is_some() && request.delivery_address.is_some() {
            problems.add("delivery_address_id", "conflict", "cannot be given together with delivery_address");
        }
        let key = problems.channel_key(request.channel, request.channel_order_id);
        let wanted_at = request.wanted_at.and_then(|raw| problems.wanted("wanted_at", raw));
        let held_until = wanted_at.and_then(|at| place.held_until(at));
        let expires_at = request.expires_at.and_then(|raw| problems.expiry("expires_at", raw, held_until));
        let metadata = metadata(&mut problems, request.metadata);
        let payment = payment(&mut problems, request.payment);
        let (Some(customer_id), Some(total), true) = (customer_id, total, problems.0.is_empty()) else {
            return Err(problems.0);
        };
        let order = Self { from_catalogue, takes, partial, ..Self::new(customer_id, &items, total) };
        let details = NewDetails {
            handover,
            adjustments,
            metadata,
            payment,
            expires_at,
            wanted_at,
            address_id,
            ..NewDetails::default()
        };
        if key.is_none() && details.is_empty() && total.minor() > 0 {
            return Ok(order.at(place));
        }
        let key = key.map(|(channel, order_id)| details.named(&order, place, channel, order_id));
        Ok(order.with(NewDetails { key, ..details }).at(place))
    }
}

/// The cart that an order was made of, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CartRef {
    /// It.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
}

impl<'a> OrderRequest<'a> {
    /// The same with the lines of a cart, which it must not have itself.
    #[must_use]
    pub fn of_cart(mut self, lines: &'a RawValue, currency: &'a RawValue, location: &'a RawValue) -> Self {
        let said = [("items", self.items), ("currency", self.currency), ("location", self.location)];
        for (name, _) in said.into_iter().filter(|(_, field)| field.is_some()) {
            self.odd.unknown(name);
        }
        Self { items: Some(lines), currency: Some(currency), location: Some(location), ..self }
    }

    const fn handover(&self) -> HandoverRequest<'a> {
        let Self { fulfilment, customer, delivery_address, pickup_time, .. } = *self;
        let is_addressed = self.delivery_address_id.is_some();
        HandoverRequest { fulfilment, customer, delivery_address, pickup_time, is_addressed }
    }

    /// What it comes to, which must be what it says itself.
    fn total(
        &self,
        problems: &mut Problems,
        lines: Option<Money>,
        beside: i64,
        currency: Currency,
    ) -> Option<Money> {
        let said = self.total.and_then(|raw| problems.price("total", Some(raw), currency));
        // What is wrong with a part is no fault of the sum.
        let lines = lines.filter(|_| problems.0.is_empty())?;
        let sum = sum_up(problems, lines, beside)?;
        if let Some(said) = said {
            expect(problems, "total", sum, said);
        }
        Some(sum)
    }
}

impl Problems {
    /// The location that is named; the first, where none is, or none that there is.
    pub(crate) fn location<'p>(&mut self, raw: Option<&RawValue>, places: &'p Locations) -> &'p Location {
        let Some(raw) = raw else { return places.main() };
        let Some(id) = self.text("location", Some(raw), MAX_LOCATION_CHARS) else { return places.main() };
        places.get(&id).unwrap_or_else(|| {
            self.add("location", "unknown_location", "there is no such location that takes orders");
            places.main()
        })
    }
}

impl NewDetails {
    /// What a channel calls an order with these details that came by `POST /orders`.
    fn named(
        &self,
        order: &NewOrder,
        place: &Location,
        channel: ChannelName,
        order_id: String,
    ) -> ChannelKey {
        let NewOrder { customer_id, items, total, .. } = order;
        let Self { handover, adjustments, metadata, payment, expires_at, wanted_at, address_id, .. } = self;
        let written = |at: &OffsetDateTime| (at.unix_timestamp(), at.microsecond());
        let expires_at = expires_at.as_ref().map(written);
        let beside = (adjustments, metadata, payment, &place.id, wanted_at.as_ref().map(written), address_id);
        let content = (customer_id, total.currency().code(), items, handover, expires_at, beside);
        ChannelKey::new(channel, order_id, &content)
    }
}

#[cfg(test)]
mod tests;
