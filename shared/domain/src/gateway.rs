//! The gateway's ledger, as whoever judges a run reads it: `GET /v1/ledger` and its summary say what really happened to the
//! money. What a charge or a refund is asked and answered in belongs to the two ends: `worker/src/gateway/wire.rs` and
//! `gateway-mock/src/wire.rs`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::money::{Money, MoneyError, currency_of};

/// Answer of `GET /v1/ledger`: what really happened to the money.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Requests that asked to move or void money, by endpoint, every one counted when it arrives; since the
    /// gateway's start.
    pub requests: LedgerRequests,
    /// Every charge that took money, in the order in which it did. One row a charge: a key that was charged
    /// twice stands here twice.
    pub charges: Vec<ChargeReceipt>,
    /// Every refund that gave money back.
    pub refunds: Vec<RefundReceipt>,
    /// Keys that can never charge.
    pub voided: Vec<String>,
    /// Keys whose charge was declined. One that was voided later stands in both lists.
    pub declined: Vec<DeclinedKey>,
    /// Keys under which `POST /v1/charges` came more than once since the gateway's start.
    pub asked_again: Vec<AskedAgain>,
    /// What charges were asked for by the gateway's own names, since its start; each once.
    #[serde(default)]
    pub named: Vec<NamedCharge>,
}

/// What a charge was asked for by the gateway's own names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCharge {
    /// The idempotency key.
    pub key: String,
    /// For what is charged.
    pub payment_method: Option<String>,
    /// For who pays.
    pub customer: Option<String>,
}

/// A charge that took money.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChargeReceipt {
    /// The gateway's own id.
    pub id: String,
    /// The idempotency key it was made under: the payment's id.
    pub key: String,
    /// What it is for: the order's id.
    pub reference: String,
    /// Exact decimal.
    pub amount: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: String,
}

impl ChargeReceipt {
    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
}

/// A refund that gave money back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundReceipt {
    /// The gateway's own id.
    pub id: String,
    /// The refund's idempotency key.
    pub key: String,
    /// The key of the charge that it gives back.
    pub charge_key: String,
    /// What it is for: the order's id.
    pub reference: String,
    /// Exact decimal.
    pub amount: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: String,
}

impl RefundReceipt {
    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
}

/// A key whose charge was declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclinedKey {
    /// The idempotency key.
    pub key: String,
    /// The decline's machine code.
    pub code: String,
}

/// How often `POST /v1/charges` came under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedAgain {
    /// The idempotency key.
    pub key: String,
    /// Requests, two or more.
    pub requests: u32,
}

/// Answer of `GET /v1/ledger/summary`: the ledger's counts and sums, at the same small price for ten charges and
/// for ten million.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSummary {
    /// As in [`Ledger`].
    pub requests: LedgerRequests,
    /// Rows of [`Ledger::charges`].
    pub charges: u64,
    /// Rows of [`Ledger::refunds`].
    pub refunds: u64,
    /// Rows of [`Ledger::voided`].
    pub voided: u64,
    /// Rows of [`Ledger::declined`].
    pub declined: u64,
    /// One row a currency, by code.
    pub totals: Vec<CurrencyTotal>,
}

/// What was taken and given back in one currency, in minor units (a sum may be larger than any one amount may).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrencyTotal {
    /// ISO 4217 code.
    pub currency: String,
    /// Taken.
    pub charged_minor: i128,
    /// Given back.
    pub refunded_minor: i128,
}

/// How often each money-moving endpoint was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRequests {
    /// `POST /v1/charges`.
    pub charges: u64,
    /// `POST /v1/charges/by-key/{key}/void`.
    pub voids: u64,
    /// `POST /v1/refunds`.
    pub refunds: u64,
}

fn parse_money(amount: &RawValue, currency: &str) -> Result<Money, MoneyError> {
    let currency = currency_of(currency).ok_or(MoneyError::UnknownCurrency)?;
    Money::parse(amount.get(), currency)
}
