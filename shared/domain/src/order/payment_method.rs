//! How an order is paid: by card, through the gateway; when it is handed over; or elsewhere, where its channel took the money.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::fields::fields;
use crate::limits::MAX_ID_CHARS;
use crate::problems::{At, Problems};

/// How it is paid. In small letters on the wire; read in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Charged at the gateway.
    #[default]
    Card,
    /// Paid at the door or at the counter: never charged here.
    OnDelivery,
    /// Its channel took the money: never charged here.
    Elsewhere,
}

impl PaymentMethod {
    const ALL: [(&'static str, Self); 3] =
        [("card", Self::Card), ("on_delivery", Self::OnDelivery), ("elsewhere", Self::Elsewhere)];

    fn parse(raw: &RawValue) -> Option<Self> {
        let text = serde_json::from_str::<String>(raw.get()).ok()?;
        Self::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|(_, one)| one)
    }
}

/// How an order is paid, and by what names. Stored and shown in this shape.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// `card`, `on_delivery` or `elsewhere`.
    pub method: PaymentMethod,
    /// The client's own name for the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "table-7", min_length = 1, max_length = 200)]
    pub reference: Option<String>,
    /// The gateway's name for what is charged, exactly as the gateway gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "pm_1a2b3c", min_length = 1, max_length = 200)]
    pub gateway_payment_method: Option<String>,
    /// The gateway's name for who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "cus_1a2b3c", min_length = 1, max_length = 200)]
    pub gateway_customer: Option<String>,
}

/// Without the gateway's names, by which money can be taken.
impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, reference, .. } = self;
        f.debug_struct("Payment")
            .field("method", method)
            .field("reference", reference)
            .finish_non_exhaustive()
    }
}

impl Payment {
    /// Without what the gateway calls it.
    pub fn without_names(&self) -> Self {
        Self { gateway_payment_method: None, gateway_customer: None, ..self.clone() }
    }

    /// Whether the gateway has a name for what is charged, or for who pays.
    pub const fn is_named_at_gateway(&self) -> bool {
        self.gateway_payment_method.is_some() || self.gateway_customer.is_some()
    }
}

/// Why nothing is charged for an order, which is confirmed from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCharge {
    /// It costs nothing.
    Free,
    /// It is paid when it is handed over.
    OnDelivery,
    /// Its channel took the money.
    Elsewhere,
}

/// An order for which nothing is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncharged {
    /// Why.
    pub because: NoCharge,
    /// How long the kitchen has to take it.
    pub accept_in: Duration,
}

impl NoCharge {
    /// Why nothing is charged for an order that comes to this and is paid so; `None`: it is charged.
    pub const fn of(total_minor: i64, method: PaymentMethod) -> Option<Self> {
        match method {
            PaymentMethod::Elsewhere => Some(Self::Elsewhere),
            _ if total_minor == 0 => Some(Self::Free),
            PaymentMethod::OnDelivery => Some(Self::OnDelivery),
            PaymentMethod::Card => None,
        }
    }
}

fields! {
    struct PaymentRequest { method, reference, gateway_payment_method, gateway_customer }
}

/// How it is paid, by what stands there.
pub(crate) fn payment(problems: &mut Problems, raw: Option<&RawValue>) -> Payment {
    let Some(raw) = raw else { return Payment::default() };
    let at = At::Top.field("payment");
    let Ok(request) = serde_json::from_str::<PaymentRequest<'_>>(raw.get()) else {
        problems.add(at, "not_an_object", "must be an object");
        return Payment::default();
    };
    problems.odd(&at, &request.odd);
    let method = request.method.map_or(Some(PaymentMethod::Card), PaymentMethod::parse);
    if method.is_none() {
        problems.add(at.field("method"), "unknown_method", "must be card, on_delivery or elsewhere");
    }
    let reference = request.reference.and_then(|raw| problems.id(at.field("reference"), Some(raw)));
    let mut opaque = |name, raw| {
        let text = problems.optional_text(at.field(name), raw, MAX_ID_CHARS);
        if raw.is_some() && method.is_some_and(|method| method != PaymentMethod::Card) {
            problems.add(at.field(name), "conflict", "nothing is charged at the gateway");
        }
        text
    };
    let gateway_payment_method = opaque("gateway_payment_method", request.gateway_payment_method);
    let gateway_customer = opaque("gateway_customer", request.gateway_customer);
    Payment { method: method.unwrap_or_default(), reference, gateway_payment_method, gateway_customer }
}
