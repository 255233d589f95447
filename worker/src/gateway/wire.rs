//! What the gateway answers, as far as it is looked at. Requests are written as text, because by way of types they take six
//! allocations each; nothing in them needs escaping but the gateway's own names, which few have. The gateway's own types are
//! another's: a test compares the two.

use domain::money::{Money, MoneyError, currency_of};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::claim::Claimed;

/// Body of `POST /v1/charges`.
pub(super) fn charge(claim: &Claimed) -> String {
    let (reference, amount, currency) = (claim.order_id, claim.amount, claim.amount.currency().code());
    let Some(names) = claim.names.as_deref() else {
        return format!(r#"{{"reference":"{reference}","amount":{amount},"currency":"{currency}"}}"#);
    };
    let mut body = format!(r#"{{"reference":"{reference}","amount":{amount},"currency":"{currency}""#);
    for (field, name) in [("payment_method", &names.payment_method), ("customer", &names.customer)] {
        let Some(name) = name else { continue };
        let name = serde_json::to_string(name).expect("a string is JSON");
        body.extend([",\"", field, "\":", &name]);
    }
    body + "}"
}

/// Body of `POST /v1/refunds`.
pub(super) fn refund(claim: &Claimed) -> String {
    let charge_key = claim.refund_of.map(|id| id.to_string()).unwrap_or_default();
    let (reference, amount, currency) = (claim.order_id, claim.amount, claim.amount.currency().code());
    format!(
        r#"{{"charge_key":"{charge_key}","reference":"{reference}","amount":{amount},"currency":"{currency}"}}"#
    )
}

/// Answer to a charge that took money.
#[derive(Debug, Deserialize)]
pub(super) struct ChargeReceipt {
    /// The gateway's own id.
    pub(super) id: String,
    /// The key it was made under.
    pub(super) key: String,
    amount: Box<RawValue>,
    currency: String,
}

impl ChargeReceipt {
    /// The amount; an error says what is wrong with it.
    pub(super) fn money(&self) -> Result<Money, MoneyError> {
        money(&self.amount, &self.currency)
    }
}

fn money(amount: &RawValue, currency: &str) -> Result<Money, MoneyError> {
    Money::parse(amount.get(), currency_of(currency).ok_or(MoneyError::UnknownCurrency)?)
}

/// Answer to a refund that gave money back.
#[derive(Debug, Deserialize)]
pub(super) struct RefundReceipt {
    /// The gateway's own id.
    pub(super) id: String,
    /// The key it was made under.
    pub(super) key: String,
    /// The key of the charge that it gives back.
    pub(super) charge_key: String,
    amount: Box<RawValue>,
    currency: String,
}

impl RefundReceipt {
    /// The amount; an error says what is wrong with it.
    pub(super) fn money(&self) -> Result<Money, MoneyError> {
        money(&self.amount, &self.currency)
    }
}

/// Answer to a void.
#[derive(Debug, Deserialize)]
#[serde(try_from = "VoidFields")]
pub(super) enum VoidReply {
    /// Nothing was taken under this key, and nothing ever will be.
    Voided {
        /// The key.
        key: String,
    },
    /// Too late: this was charged.
    AlreadyCharged(ChargeReceipt),
}

/// As it is read: a `RawValue`, as the receipt's amount is, cannot be read from within a tagged enum.
#[derive(Deserialize)]
struct VoidFields {
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

impl TryFrom<VoidFields> for VoidReply {
    type Error = &'static str;

    fn try_from(fields: VoidFields) -> Result<Self, Self::Error> {
        match fields.status {
            VoidStatus::Voided => {
                let key = fields.key.ok_or("voided, but not which key")?;
                Ok(Self::Voided { key })
            }
            VoidStatus::AlreadyCharged => {
                let charge = fields.charge.ok_or("already_charged, but without the charge")?;
                Ok(Self::AlreadyCharged(charge))
            }
        }
    }
}

/// Body of every answer that is no success.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    /// Machine code.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

#[cfg(test)]
mod tests {
    use domain::money::Currency;
    use domain::payment::AttemptAction;
    use gateway_mock::wire as theirs;
    use store::claim::names::GatewayNames;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn both_ends_mean_the_same() {
        for amount in [Money::from_minor(5, Currency::USD), Money::from_minor(12_345, Currency::JPY)] {
            let claim = Claimed {
                payment_id: Uuid::now_v7(),
                order_id: Uuid::now_v7(),
                refund_of: Some(Uuid::now_v7()),
                amount,
                epoch: 1,
                number: 1,
                action: AttemptAction::Charge,
                spent: 0,
                queued: true,
                origin: None,
                names: None,
            };
            let asked = theirs::ChargeRequest::new(claim.order_id, amount);
            assert_eq!(charge(&claim), serde_json::to_string(&asked).unwrap());
            let name = |name: &str| Some(name.to_owned());
            for (payment_method, customer) in
                [(name("pm \"1\""), None), (None, name("cüs\\n1")), (name("pm"), name("cus"))]
            {
                let names = GatewayNames { payment_method, customer };
                let (payment_method, customer) = (names.payment_method.clone(), names.customer.clone());
                let asked = theirs::ChargeRequest { payment_method, customer, ..asked.clone() };
                let claim = Claimed { names: Some(Box::new(names)), ..claim.clone() };
                assert_eq!(charge(&claim), serde_json::to_string(&asked).unwrap());
            }
            let (key, reference, currency) = ("k".to_owned(), asked.reference, asked.currency);
            let asked = theirs::RefundRequest::new(claim.refund_of.unwrap(), claim.order_id, amount);
            assert_eq!(refund(&claim), serde_json::to_string(&asked).unwrap());

            let taken = theirs::ChargeReceipt {
                id: "ch_1".to_owned(),
                key: key.clone(),
                reference: reference.clone(),
                amount: amount.to_json(),
                currency: currency.clone(),
            };
            let read: ChargeReceipt = reread(&taken);
            assert_eq!((&*read.id, &*read.key, read.money()), ("ch_1", "k", Ok(amount)));
            let reply = theirs::VoidReply::AlreadyCharged { charge: taken };
            let VoidReply::AlreadyCharged(charge) = reread(&reply) else { panic!("it was charged") };
            assert_eq!(charge.money(), Ok(amount));
            let given = theirs::RefundReceipt {
                id: "re_1".to_owned(),
                key,
                charge_key: asked.charge_key.clone(),
                reference,
                amount: amount.to_json(),
                currency,
            };
            let read: RefundReceipt = reread(&given);
            assert_eq!((&*read.id, &*read.key, read.money()), ("re_1", "k", Ok(amount)));
            assert_eq!(read.charge_key, asked.charge_key);
        }
        let voided = theirs::VoidReply::Voided { key: "k".to_owned() };
        assert!(matches!(reread(&voided), VoidReply::Voided { key } if key == "k"));
        let problem = theirs::GatewayProblem { code: "voided".to_owned(), message: "m".to_owned() };
        let read: Problem = reread(&problem);
        assert_eq!((&*read.code, &*read.message), ("voided", "m"));
        for half in [r#"{"status":"already_charged"}"#, r#"{"status":"voided"}"#] {
            assert!(serde_json::from_str::<VoidReply>(half).is_err(), "{half}");
        }
    }

    fn reread<T: serde::de::DeserializeOwned>(theirs: &impl serde::Serialize) -> T {
        serde_json::from_str(&serde_json::to_string(theirs).unwrap()).unwrap()
    }
}
