//! The payment, the unit that the workers process, and the contract of the gateway that is asked to charge it.
//! The wire types below are all that gateway-mock and the worker share.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::money::{Money, MoneyError, currency_of};

/// What a payment does with the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(type_name = "payment_kind", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum PaymentKind {
    /// Takes money for an order.
    Charge,
    /// Gives money back.
    Refund,
    /// The channel took the money: there from the start, final, never claimed, unknown to the gateway.
    Elsewhere,
}

/// The id of a new payment of this order, and so the gateway's idempotency key. UUIDv7 with the order's own time: payments
/// are to be partitioned by ranges of it, and all of an order's lie in one.
pub fn new_payment_id(order_id: Uuid) -> Uuid {
    let order_millis = u64::try_from(order_id.as_u128() >> 80).expect("48 bits fit");
    uuid::Builder::from_unix_timestamp_millis(order_millis, &rand::random()).into_uuid()
}

/// Where a payment stands. `Pending -> Processing -> Succeeded | Failed`, with `Processing -> Waiting ->
/// Processing` for every try that did not end it, and `Pending -> Failed` for one that was never sent. One that must wait
/// for its order's own charge is `Held` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "payment_status", rename_all = "lowercase")
)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStatus {
    /// Of an addition: not to be looked at before its order's own charge is known.
    Held,
    /// Accepted, never claimed.
    Pending,
    /// Claimed by a worker under an epoch, until `due_at`.
    Processing,
    /// To be tried again at `due_at`.
    Waiting,
    /// The gateway took the money (or gave it back, for a refund). Final.
    Succeeded,
    /// Declined; or voided after the tries ran out; or never sent, because its order ended before. Final;
    /// nothing was taken.
    Failed,
}

impl PaymentStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Held, Self::Pending, Self::Processing, Self::Waiting, Self::Succeeded, Self::Failed];

    /// Whether the database lets a payment go `self -> to` (`migrations/`, trigger `payments_legal_move`); a test
    /// compares the two.
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            // Failed: its order ended before anything was sent.
            Self::Held => matches!(to, Self::Pending | Self::Failed),
            Self::Pending => matches!(to, Self::Processing | Self::Failed),
            // Processing: a lease ran out and another worker took over.
            Self::Processing => !matches!(to, Self::Held | Self::Pending),
            Self::Waiting => matches!(to, Self::Processing),
            Self::Succeeded | Self::Failed => false,
        }
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What one try asks of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "attempt_action", rename_all = "lowercase")
)]
#[serde(rename_all = "lowercase")]
pub enum AttemptAction {
    /// Take the money.
    Charge,
    /// See to it that this key can never take money.
    Void,
    /// Give money back.
    Refund,
}

impl AttemptAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Charge, Self::Void, Self::Refund];

    /// The name on the wire, in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "attempt_outcome", rename_all = "snake_case")
)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The money moved; for a void: the key had already been charged, so the payment stands.
    Succeeded,
    /// The gateway said no. An answer, not an outage.
    Declined,
    /// The key is void: it took nothing and never will.
    Voided,
    /// Nobody knows whether the money moved: time-out, broken reply, 5xx after send.
    InDoubt,
    /// The gateway could not be reached, or turned the request away before looking at it (503, 429).
    Unavailable,
    /// The worker that made this try never told how it ended (it died, or lost its lease).
    Abandoned,
}

impl AttemptOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Declined, Self::Voided, Self::InDoubt, Self::Unavailable, Self::Abandoned];

    /// The name on the wire, in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::InDoubt => "in_doubt",
            Self::Unavailable => "unavailable",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Body of `POST /v1/charges`. The key travels in the `Idempotency-Key` header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChargeRequest {
    /// What the charge is for: the order's id.
    pub reference: String,
    /// Exact decimal, a JSON number.
    pub amount: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: String,
}

impl ChargeRequest {
    /// A request for `money`, for the order named by `reference`.
    pub fn new(reference: Uuid, money: Money) -> Self {
        Self {
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

impl ChargeReceipt {
    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
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

/// Answer of `POST /v1/charges/by-key/{key}/void`, always 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", try_from = "VoidReplyFields")]
pub enum VoidReply {
    /// Nothing was taken under this key, and nothing ever will be: a later charge answers 410.
    Voided,
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
            VoidStatus::Voided => Ok(Self::Voided),
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

impl RefundReceipt {
    /// The amount; an error says what is wrong with it.
    pub fn money(&self) -> Result<Money, MoneyError> {
        parse_money(&self.amount, &self.currency)
    }
}

fn parse_money(amount: &RawValue, currency: &str) -> Result<Money, MoneyError> {
    let currency = currency_of(currency).ok_or(MoneyError::UnknownCurrency)?;
    Money::parse(amount.get(), currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn both_replies_to_a_void_are_read_as_they_were_written() {
        let charge = ChargeReceipt {
            id: "ch_1".into(),
            key: "k".into(),
            reference: "r".into(),
            amount: Money::from_minor(3_097, Currency::USD).to_json(),
            currency: "USD".into(),
        };
        for reply in [VoidReply::Voided, VoidReply::AlreadyCharged { charge }] {
            let written = serde_json::to_string(&reply).unwrap();
            let read: VoidReply = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        let error = serde_json::from_str::<VoidReply>(r#"{"status":"already_charged"}"#).unwrap_err();
        assert!(error.to_string().contains("without the charge"), "{error}");
    }
}
