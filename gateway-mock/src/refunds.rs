//! `POST /v1/refunds`: gives back what a charge took, in one or several parts, never more than it took.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::money::Money;

use crate::Gateway;
use crate::charges::{problem_of, unbooked};
use crate::counters::Outcome;
use crate::fate::{Endpoint, Fate};
use crate::json::json;
use crate::ledger::{Answer, RefundOrder, Start};
use crate::name::Name;
use crate::play::{pause, play};
use crate::problem::{Problem, bad_money, idempotency_key, parse_name, raw_key, read_json};
use crate::wire::RefundRequest;

/// Gives money back, once a key.
pub(crate) async fn refund(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.ledger.refunds_asked.fetch_add(1, Ordering::Relaxed);
    gateway.access.note("refund", raw_key(request.headers()), request.headers());
    let faults = gateway.faults();
    if faults.down {
        gateway.counters.refund(Outcome::Fault);
        return Problem::down().into_response();
    }
    if !gateway.rate.admits(faults.limit_per_second) {
        gateway.counters.fault(Fate::TooMany);
        return Problem::too_many(faults.retry_after_seconds).into_response();
    }
    let (key, order) = match read_refund(request).await {
        Ok(read) => read,
        Err(problem) => {
            gateway.counters.refund(Outcome::Refused);
            return problem.into_response();
        }
    };
    let try_number = gateway.ledger.refund_keys.count_try(&key);
    let fate = faults.fate(Endpoint::Refund, &key, try_number);
    let latency = faults.latency(Endpoint::Refund, &key, try_number);
    let worker = Arc::clone(&gateway);
    let pace = faults.pace(latency);
    play(&gateway, fate, pace, move |time| async move { worker.refund(&key, order, time).await }).await
}

impl Gateway {
    /// As a charge: the key's seat is held for as long as it takes, and given back if the client hangs up.
    async fn refund(&self, key: &Name, order: RefundOrder, time: Duration) -> Response {
        let answer = match self.ledger.begin_refund(key, &order) {
            Start::Work(seat) => {
                pause(time).await;
                match self.ledger.refund(seat, key, order) {
                    Ok(answer) => answer,
                    Err(error) => {
                        self.counters.refund(Outcome::Fault);
                        return unbooked(&error).into_response();
                    }
                }
            }
            Start::Over(answer) => answer,
        };
        self.counters.refund(Outcome::of(&answer));
        match answer {
            Answer::Done { receipt, .. } => json(StatusCode::CREATED, &receipt),
            other => problem_of(other, "There is no charge under this charge_key.").into_response(),
        }
    }
}

async fn read_refund(request: Request) -> Result<(Name, RefundOrder), Problem> {
    let key = idempotency_key(request.headers())?;
    let body: RefundRequest = read_json(request).await?;
    let money: Money = body.money().map_err(bad_money)?;
    let charge_key = parse_name("charge_key", &body.charge_key)?;
    Ok((key, RefundOrder { charge_key, reference: parse_name("reference", &body.reference)?, money }))
}
