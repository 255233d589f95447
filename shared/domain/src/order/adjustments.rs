//! Amounts beside an order's lines, or beside one line: fees, tips, taxes, discounts. Signed, so that all of them are added.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::fields::fields;
use crate::limits::{MAX_ADJUSTMENTS, MAX_NAME_CHARS};
use crate::money::{Currency, Money};
use crate::problems::{At, Problems};

/// What an amount beside the lines is for. In small letters on the wire; read in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    /// For bringing it.
    DeliveryFee,
    /// For the service.
    ServiceFee,
    /// For those who serve.
    Tip,
    /// A tax that the prices do not include. What they include is no amount beside them.
    Tax,
    /// For what it is packed in.
    Bag,
    /// Off the price: below zero.
    Discount,
    /// Up or down to what can be paid in cash.
    Rounding,
    /// Anything else, up or down, called by its name.
    Other,
}

impl AdjustmentKind {
    /// Every kind, and its name on the wire.
    pub const ALL: [(&'static str, Self); 8] = [
        ("delivery_fee", Self::DeliveryFee),
        ("service_fee", Self::ServiceFee),
        ("tip", Self::Tip),
        ("tax", Self::Tax),
        ("bag", Self::Bag),
        ("discount", Self::Discount),
        ("rounding", Self::Rounding),
        ("other", Self::Other),
    ];

    fn parse(raw: &RawValue) -> Option<Self> {
        let text = serde_json::from_str::<String>(raw.get()).ok()?;
        Self::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|(_, kind)| kind)
    }

    /// Whether its amount may have this sign: a discount that adds, or a fee that takes off, is a sign that was lost.
    pub const fn may_be(self, minor: i64) -> bool {
        match self {
            Self::Discount => minor <= 0,
            Self::Rounding | Self::Other => true,
            Self::DeliveryFee | Self::ServiceFee | Self::Tip | Self::Tax | Self::Bag => minor >= 0,
        }
    }
}

/// One amount. Stored and shown in this shape.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Adjustment {
    /// What for.
    pub kind: AdjustmentKind,
    /// What it is called, 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Happy hour", min_length = 1, max_length = 500)]
    pub name: Option<String>,
    /// Exact decimal with its sign: below zero is off the price, as each `discount` is.
    #[schema(value_type = f64, example = -1.50)]
    pub amount: Box<RawValue>,
}

impl Adjustment {
    /// The same amount for the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name && self.amount.get() == other.amount.get()
    }

    /// In minor units.
    pub fn minor(&self, currency: Currency) -> Option<i64> {
        Money::parse_signed(self.amount.get(), currency).ok().map(Money::minor)
    }
}

fields! {
    struct AdjustmentRequest { kind, name, amount }
}

impl AdjustmentRequest<'_> {
    fn parse(&self, at: &At<'_>, currency: Currency, problems: &mut Problems) -> Option<(Adjustment, i64)> {
        problems.odd(at, &self.odd);
        let kind = problems.present(at.field("kind"), self.kind).and_then(|raw| {
            let kind = AdjustmentKind::parse(raw);
            if kind.is_none() {
                let known: Vec<&str> = AdjustmentKind::ALL.iter().map(|(name, _)| *name).collect();
                problems.add(
                    at.field("kind"),
                    "unknown_kind",
                    format!("must be one of {}", known.join(", ")),
                );
            }
            kind
        });
        let name = problems.optional_text(at.field("name"), self.name, MAX_NAME_CHARS);
        let amount = problems.signed(at.field("amount"), self.amount, currency);
        let (kind, amount) = (kind?, amount?);
        if !kind.may_be(amount.minor()) {
            let must = if kind == AdjustmentKind::Discount {
                "must not be above zero"
            } else {
                "must not be below zero"
            };
            problems.add(at.field("amount"), "wrong_sign", must);
        }
        Some((Adjustment { kind, name, amount: amount.to_json() }, amount.minor()))
    }
}

/// The amounts and their sum in minor units. (So many of the largest come nowhere near the end of an `i64`.)
pub(crate) fn adjustments(
    problems: &mut Problems,
    at: &At<'_>,
    raw: Option<&RawValue>,
    currency: Currency,
) -> (Vec<Adjustment>, i64) {
    let Some(raw) = raw else { return (Vec::new(), 0) };
    let list = problems.list::<AdjustmentRequest<'_>>(at, raw, MAX_ADJUSTMENTS);
    let mut sum = 0;
    let read = list.iter().enumerate().filter_map(|(index, one)| {
        let (adjustment, minor) = one.parse(&at.entry(index), currency, problems)?;
        sum += minor;
        Some(adjustment)
    });
    (read.collect(), sum)
}
