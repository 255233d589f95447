//! Which answers are believed: a success is the one status that the contract names, with a receipt of what was asked. All
//! others, one by one, for each thing that can be asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use domain::money::{Currency, Money};
use domain::payment::AttemptAction::{self, Charge, Refund, Void};
use runtime::tasks::Stop;
use serde_json::{Value, json};
use store::claim::Claimed;
use tokio::net::TcpListener;
use uuid::Uuid;
use worker::gateway::{Answer, Asked, Gateway};

const KEY: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(9);
const CHARGED: Uuid = Uuid::from_u128(3);

fn claim(action: AttemptAction) -> Claimed {
    Claimed {
        payment_id: KEY,
        order_id: Uuid::from_u128(2),
        refund_of: (action == Refund).then_some(CHARGED),
        amount: Money::from_minor(3_097, Currency::USD),
        epoch: 1,
        number: 1,
        action,
        spent: 0,
        queued: true,
        origin: None,
        names: None,
    }
}

/// A gateway that says whatever it is told to.
struct Parrot {
    says: Arc<Mutex<(StatusCode, String)>>,
    ask: Gateway,
    stop: Stop,
}

impl Parrot {
    async fn new() -> Result<Self> {
        let says = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let said = Arc::clone(&says);
        let routes = Router::new().fallback(async move || said.lock().unwrap().clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ask = Gateway::new(&format!("http://{}", listener.local_addr()?), Duration::from_secs(10))?;
        let stop = Stop::new();
        let serve =
            runtime::serve::serve(listener, routes, runtime::serve::ServeLimits::default(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(serve);
        Ok(Self { says, ask, stop })
    }

    async fn asked(&self, action: AttemptAction, status: u16, body: &Value) -> Asked {
        *self.says.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_string());
        self.ask.ask(&claim(action)).await
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// A receipt of what was asked.
fn receipt(action: AttemptAction) -> Value {
    let charge = json!({"id": "ch_1", "key": KEY, "reference": "r", "amount": 30.97, "currency": "USD"});
    match action {
        Charge => charge,
        Refund => {
            json!({"id": "ch_1", "key": KEY, "charge_key": CHARGED, "reference": "r", "amount": 30.97, "currency": "USD"})
        }
        Void => json!({"status": "already_charged", "charge": charge}),
    }
}

/// The same, with one field changed, of the charge where there is one within.
fn but(action: AttemptAction, field: &str, value: Value) -> Value {
    let mut receipt = receipt(action);
    let within = if action == Void { &mut receipt["charge"] } else { &mut receipt };
    within[field] = value;
    receipt
}

const fn success(action: AttemptAction) -> u16 {
    if matches!(action, Void) { 200 } else { 201 }
}

fn name(asked: &Asked) -> &'static str {
    match asked {
        Ok(Answer::Done { .. }) => "done",
        Ok(Answer::Declined(_)) => "declined",
        Ok(Answer::Voided) => "voided",
        Ok(Answer::Pending { .. }) => "pending",
        Ok(Answer::InDoubt(_)) => "in doubt",
        Err(Answer::InDoubt(reason)) if reason.code == "foreign_receipt" => "foreign",
        Err(Answer::InDoubt(_)) => "in doubt, outage",
        Ok(Answer::Refused(_)) => "refused",
        Ok(Answer::TooMany { .. }) => "too many",
        Err(Answer::Unavailable { .. }) => "unavailable",
        Err(Answer::Misconfigured { stops_charges: true, .. }) => "misconfigured, stops charges",
        Err(Answer::Misconfigured { stops_charges: false, .. }) => "misconfigured",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_receipt_of_what_was_asked_is_believed() -> Result<()> {
    let parrot = Parrot::new().await?;
    for action in AttemptAction::ALL {
        let asked = parrot.asked(action, success(action), &receipt(action)).await;
        assert_eq!(name(&asked), "done", "{action:?}");
        for (field, value) in [
            ("key", json!(OTHER)),
            ("amount", json!(30.98)),
            ("amount", json!(130.97)),
            ("currency", json!("EUR")),
            ("currency", json!("JPY")),
            ("charge_key", json!(OTHER)),
        ] {
            let (of_refund, foreign) = (field == "charge_key", but(action, field, value));
            let expected = if of_refund && action != Refund { "done" } else { "foreign" };
            let asked = parrot.asked(action, success(action), &foreign).await;
            assert_eq!(name(&asked), expected, "{action:?} {foreign}");
        }
    }
    for (voided, expected) in [
        (json!({"status": "voided", "key": KEY}), "voided"),
        (json!({"status": "voided", "key": OTHER}), "foreign"),
        (json!({"status": "voided"}), "in doubt, outage"),
    ] {
        assert_eq!(name(&parrot.asked(Void, 200, &voided).await), expected, "{voided}");
    }
    Ok(())
}

#[tokio::test]
async fn any_other_status_is_no_success_whatever_its_body_says() -> Result<()> {
    let parrot = Parrot::new().await?;
    for status in (200..=599).filter(|status| *status != 204 && *status != 304) {
        for action in AttemptAction::ALL {
            let expected = match (status, action) {
                _ if status == success(action) => continue,
                (202 | 409, _) => "pending",
                (200..=299, _) => "in doubt, outage",
                (300..=399 | 401 | 403 | 405 | 407 | 415 | 426, Charge) | (404, Charge) => {
                    "misconfigured, stops charges"
                }
                (402, Charge | Refund) | (404 | 422, Refund) => "declined",
                (300..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 426, _) => "misconfigured",
                (400, _) => "refused",
                (410, _) => "voided",
                (429, _) => "too many",
                (503, _) => "unavailable",
                (500..=599, _) => "in doubt, outage",
                _ => "in doubt",
            };
            let asked = parrot.asked(action, status, &receipt(action)).await;
            assert_eq!(name(&asked), expected, "{action:?} {status}");
        }
    }
    Ok(())
}
