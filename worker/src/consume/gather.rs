//! What is there of messages, up to one claim's worth.

use std::collections::HashMap;
use std::time::SystemTime;

use anyhow::Result;
use broker::{Consumer, Delivery};
use domain::message::MAX_PAYMENTS;
use futures_util::FutureExt;
use runtime::chaos::crash_point;
use runtime::trace::Kind;
use store::claim::Claimed;
use uuid::Uuid;

use crate::claim;
use crate::config::MAX_CLAIM;

/// How many payments one claim takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimSize {
    /// A claim that names so many takes no further message: an eighth of the room. One that has to wait until most of the
    /// room is free leaves gateway and settlements idle meanwhile; one of a single small message costs a statement.
    enough: usize,
    /// At most: no more than can be in hand, or it would wait for room for ever.
    most: usize,
}

impl ClaimSize {
    /// For so many payments in hand.
    pub(super) fn of(in_hand: usize) -> Self {
        Self { enough: in_hand.div_ceil(8), most: MAX_CLAIM.min(in_hand) }
    }
}

/// Messages, each with the payments that it names.
pub(super) type Messages = Vec<(Delivery, Vec<Uuid>)>;

/// `first` and whatever else is there, up to one claim's worth. Poison is laid aside.
pub(super) async fn gather(first: Delivery, consumer: &mut Consumer, size: ClaimSize) -> Result<Messages> {
    let mut deliveries = Vec::new();
    let mut named = 0;
    let mut next = Some(first);
    while let Some(delivery) = next {
        match &delivery.message {
            Ok(message) => {
                let payments = message.payments.clone();
                named += payments.len();
                deliveries.push((delivery, payments));
            }
            Err(malformed) => {
                tracing::error!(%malformed, "a poisoned message; it is laid aside as a dead letter");
                metrics::counter!("claim_dead_letters_total").increment(1);
                crash_point("worker.before_bury");
                delivery.bury().await?;
            }
        }
        if named >= size.enough || named + MAX_PAYMENTS > size.most {
            break;
        }
        next = consumer.next().now_or_never().transpose()?;
    }
    Ok(deliveries)
}

/// Gives each claim the origin that came with its payment's name, and notes the claim in its trace.
pub(super) fn hand_over(
    deliveries: &mut [(Delivery, Vec<Uuid>)],
    claims: &mut [Claimed],
    begun: Option<SystemTime>,
) {
    let mut origins = HashMap::new();
    for message in deliveries.iter_mut().filter_map(|(delivery, _)| delivery.message.as_mut().ok()) {
        origins.extend(message.payments.iter().zip(message.origins.drain(..)));
    }
    if origins.is_empty() && begun.is_none() {
        return;
    }
    for claim in claims {
        claim.origin = origins.remove(&claim.payment_id).flatten();
        claim::step(claim, "claim", Kind::Consumer, begun);
    }
}
