//! `POST /v1/charges`, and what can be asked of a charge by its key: look up and void.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::Gateway;
use crate::counters::Outcome;
use crate::fate::{Endpoint, Fate};
use crate::faults::Faults;
use crate::json::json;
use crate::ledger::{Answer, ChargeOrder, Start};
use crate::name::Name;
use crate::play::{pause, play};
use crate::problem::{Problem, bad_money, idempotency_key, parse_key, parse_name, raw_key, read_json};
use crate::verdict::Verdict;
use crate::wire::{ChargeReceipt, ChargeRequest, VoidReply};

/// Takes money, once a key.
pub(crate) async fn charge(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.ledger.charges_asked.fetch_add(1, Ordering::Relaxed);
    gateway.access.note("charge", raw_key(request.headers()), request.headers());
    let faults = gateway.faults();
    if faults.down {
        gateway.counters.charge(Outcome::Fault);
        return Problem::down().into_response();
    }
    if !gateway.rate.admits(faults.limit_per_second) {
        gateway.counters.fault(Fate::TooMany);
        return Problem::too_many(faults.retry_after_seconds).into_response();
    }
    let (key, order) = match read_charge(&gateway, request).await {
        Ok(read) => read,
        Err(problem) => {
            gateway.counters.charge(Outcome::Refused);
            return problem.into_response();
        }
    };
    let try_number = gateway.ledger.charge_keys.count_try(&key);
    let fate = faults.fate(Endpoint::Charge, &key, try_number);
    let latency = faults.latency(Endpoint::Charge, &key, try_number);
    let verdict = faults.verdict(&key);
    let worker = Arc::clone(&gateway);
    let pace = faults.pace(latency);
    play(&gateway, fate, pace, move |time| async move { worker.charge(&key, order, verdict, time).await })
        .await
}

/// What became of a key: 200 with the receipt, or the problem that a charge under it would meet.
pub(crate) async fn look_up(
    State(gateway): State<Arc<Gateway>>,
    Path(key): Path<String>,
) -> Result<Response, Problem> {
    let key = gateway.admit_control(&key).await?;
    match gateway.ledger.look_up(&key) {
        Answer::Done { receipt, .. } => Ok(json(StatusCode::OK, &receipt)),
        other => Ok(charge_response(other)),
    }
}

/// Sees to it that a key never charges, unless it already has.
pub(crate) async fn void(
    State(gateway): State<Arc<Gateway>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    gateway.ledger.voids_asked.fetch_add(1, Ordering::Relaxed);
    gateway.access.note("void", key.as_bytes(), &headers);
    let count = |outcome| gateway.counters.void(outcome);
    let key = gateway.admit_control(&key).await.inspect_err(|_| count(Outcome::Fault))?;
    match gateway.ledger.void(&key) {
        Ok(Answer::Done { receipt, .. }) => {
            count(Outcome::AlreadyCharged);
            Ok(json(StatusCode::OK, &VoidReply::AlreadyCharged { charge: receipt }))
        }
        Ok(_) => {
            count(Outcome::Voided);
            Ok(json(StatusCode::OK, &VoidReply::Voided { key: key.to_string() }))
        }
        Err(error) => {
            count(Outcome::Fault);
            Err(unbooked(&error))
        }
    }
}

impl Gateway {
    /// Holds the key's seat for as long as the charge takes, then books. Dropped half-way (the client hung up) it
    /// gives the seat back with nothing booked.
    async fn charge(&self, key: &Name, order: ChargeOrder, verdict: Verdict, time: Duration) -> Response {
        let answer = match self.ledger.begin_charge(key, &order) {
            Start::Work(seat) => {
                pause(time).await;
                match self.ledger.charge(seat, key, order, verdict) {
                    Ok(answer) => answer,
                    Err(error) => {
                        self.counters.charge(Outcome::Fault);
                        return unbooked(&error).into_response();
                    }
                }
            }
            Start::Over(answer) => answer,
        };
        self.counters.charge(Outcome::of(&answer));
        charge_response(answer)
    }

    /// The checks that void and look-up share.
    async fn admit_control(&self, key: &str) -> Result<Name, Problem> {
        let faults: Faults = self.faults();
        if faults.down {
            return Err(Problem::down());
        }
        let key = parse_key(key)?;
        // Counted only while it matters, so that look-ups of unknown keys leave nothing behind.
        let may_fail = faults.control_error_rate > 0.0 || faults.misconfigured_rate > 0.0;
        let number = if may_fail { self.ledger.charge_keys.count_control(&key) } else { 0 };
        let latency = faults.latency(Endpoint::Control, &key, number);
        pause(latency).await;
        match faults.control_fate(&key, number) {
            Fate::Plain => Ok(key),
            Fate::Misconfigured => Err(Problem::misconfigured(faults.pace(latency).misconfigured)),
            _ => Err(Problem::internal()),
        }
    }
}

/// 500 for a change that the journal did not take: nothing was done.
pub(crate) fn unbooked(error: &anyhow::Error) -> Problem {
    tracing::error!(error = format!("{error:#}"), "the ledger cannot be written");
    Problem::internal()
}

async fn read_charge(gateway: &Gateway, request: Request) -> Result<(Name, ChargeOrder), Problem> {
    let key = idempotency_key(request.headers())?;
    let body: ChargeRequest = read_json(request).await?;
    let money = body.money().map_err(bad_money)?;
    gateway.ledger.note_names(&key, body.payment_method, body.customer);
    Ok((key, ChargeOrder { reference: parse_name("reference", &body.reference)?, money }))
}

fn charge_response(answer: Answer<ChargeReceipt>) -> Response {
    match answer {
        Answer::Done { receipt, .. } => json(StatusCode::CREATED, &receipt),
        other => problem_of(other, "No charge was ever made under this key.").into_response(),
    }
}

/// The problem that an answer without a receipt is.
pub(crate) fn problem_of<R>(answer: Answer<R>, not_found: &str) -> Problem {
    match answer {
        Answer::Declined { code, .. } => {
            let (code, message) = code.words();
            Problem::new(StatusCode::PAYMENT_REQUIRED, code, message)
        }
        Answer::InProgress => Problem::new(
            StatusCode::CONFLICT,
            "in_progress",
            "An earlier request with this key is still being worked on.",
        ),
        Answer::KeyReused => Problem::unprocessable("key_reused", "This key came with another body before."),
        Answer::Voided => {
            Problem::new(StatusCode::GONE, "voided", "This key was voided and can never charge.")
        }
        Answer::NotFound => Problem::not_found(not_found),
        Answer::ExceedsCharge { left } => Problem::unprocessable(
            "refund_exceeds_charge",
            format!("Only {left} {} of the charge is left to refund.", left.currency().code()),
        ),
        Answer::OtherCurrency => {
            Problem::unprocessable("currency_mismatch", "The charge was made in another currency.")
        }
        Answer::Done { .. } => Problem::internal(),
    }
}
