//! What the gateway is asked and what it answers: its contract. A merchant has types of its own for it.

use domain::money::{Money, MoneyError, currency_of};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Body of `POST /v1/charges`. The key travels in the `Idempotency-Key` header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChargeRequest {
    /// What the charge is for: the order's id.
    pub reference: String,
    /// Exact decimal, a JSON number.
    pub amount: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: String,
    /// The gateway's own name for what is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// The gateway's own name for who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
}

/// What a charge was asked for by the gateway's own names, as the ledger shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedCharge {
    /// The idempotency key.
    pub key: String,
    /// For what is charged.
    pub payment_method: Option<String>,
    /// For who pays.
    pub customer: Option<String>,
}

impl ChargeRequest {
    /// A request for `money`, for the order named by `reference`.
    pub fn new(reference: Uuid, money: Money) -> Self {
        Self {
            reference: reference.to_string(),
            amount: money.to_json(),
            currency: money.currency().code().to_owned(),
            payment_method: None,
            customer: None,
        }
    }

    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
}

/// A charge or a refund as the gateway shows it: answer of `POST /v1/charges` (201), of its replay (201 too),
/// of `GET /v1/charges/by-key/{key}` (200), and a row of the ledger.
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

/// Body of `POST /v1/refunds`: gives back (part of) what `charge_key` took. Own `Idempotency-Key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundRequest {
    /// The key of the charge to give back.
    pub charge_key: String,
    /// What the refund is for: the order's id.
    pub reference: String,
    /// Exact decimal.
    pub amount: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: String,
}

impl RefundRequest {
    /// A request to give `money` back of what `charge_key` took, for the order named by `reference`.
    pub fn new(charge_key: Uuid, reference: Uuid, money: Money) -> Self {
        Self {
            charge_key: charge_key.to_string(),
            reference: reference.to_string(),
            amount: money.to_json(),
            currency: money.currency().code().to_owned(),
        }
    }

    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
}

/// A refund as the gateway shows it: answer of `POST /v1/refunds` (201) and of its replay.
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

/// Answer of `POST /v1/charges/by-key/{key}/void`, always 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", try_from = "VoidReplyFields")]
pub enum VoidReply {
    /// Nothing was taken under this key, and nothing ever will be: a later charge answers 410.
    Voided {
        /// The key.
        key: String,
    },
    /// Too late: this was charged.
    AlreadyCharged {
        /// What was charged.
        charge: ChargeReceipt,
    },
}

/// [`VoidReply`] as it is read: a `RawValue`, as the receipt's amount is, cannot be read from within a tagged enum.
#[derive(Deserialize)]
struct VoidReplyFields {
    status: VoidStatus,
    key: Option<String>,
    charge: Option<ChargeReceipt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum VoidStatus {
    Voided,
    AlreadyCharged,
}

impl TryFrom<VoidReplyFields> for VoidReply {
    type Error = &'static str;

    fn try_from(fields: VoidReplyFields) -> Result<Self, Self::Error> {
        match fields.status {
            VoidStatus::Voided => Ok(Self::Voided { key: fields.key.ok_or("voided, but not which key")? }),
            VoidStatus::AlreadyCharged => {
                let charge = fields.charge.ok_or("already_charged, but without the charge")?;
                Ok(Self::AlreadyCharged { charge })
            }
        }
    }
}

/// Body of every answer of the gateway that is no success.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GatewayProblem {
    /// Machine code: `card_declined`, `in_progress`, `key_reused`, `voided`, ...
    pub code: String,
    /// For people.
    pub message: String,
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
    /// As in the ledger.
    pub requests: LedgerRequests,
    /// Rows of its `charges`.
    pub charges: u64,
    /// Rows of its `refunds`.
    pub refunds: u64,
    /// Rows of its `voided`.
    pub voided: u64,
    /// Rows of its `declined`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Currency;

    #[test]
    fn both_replies_to_a_void_are_read_as_they_were_written() {
        let charge = ChargeReceipt {
            id: "ch_1".into(),
            key: "k".into(),
            reference: "r".into(),
            amount: Money::from_minor(3_097, Currency::USD).to_json(),
            currency: "USD".into(),
        };
        for reply in [VoidReply::Voided { key: "k".into() }, VoidReply::AlreadyCharged { charge }] {
            let written = serde_json::to_string(&reply).unwrap();
            let read: VoidReply = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        let error = serde_json::from_str::<VoidReply>(r#"{"status":"already_charged"}"#).unwrap_err();
        assert!(error.to_string().contains("without the charge"), "{error}");
    }
}
