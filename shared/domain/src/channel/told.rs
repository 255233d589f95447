//! told: what a channel says later of an order that it sent before, by sending its document again. No I/O.
//!
//! A document is whole: what it says now holds, and what it leaves out is gone. What was ordered, by whom and what it comes to can
//! never be another; when, where, to whom and what is to be minded can, until the kitchen has begun; and what became of the order
//! there is shown whatever becomes of it here. A late repeat of what was said before changes nothing.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::document::Document;
use super::reading::read_time;
use crate::content::content_hash;
use crate::order::details::Handover;
use crate::order::moves::Refusal;
use crate::order::payment_method::PaymentMethod;
use crate::order::status::OrderStatus;

/// Most of what was said before that is remembered, so that a late repeat is known: more is no repeat of anybody's.
const MOST_SAID: usize = 32;

/// An order that its channel calls off.
#[derive(Debug, Clone)]
pub struct CalledOff {
    /// What the channel calls the order.
    pub order_id: String,
    /// Our name of the location that is to make it; `None`: the document does not say.
    pub location: Option<String>,
    /// The document that says so.
    pub document: Document,
}

/// What a document says of an order that is there.
#[derive(Debug, Clone)]
pub struct Told {
    /// To whom, how and when.
    pub handover: Handover,
    /// What it says of the order's life there, to the letter.
    pub imported: Box<RawValue>,
    /// How it is paid.
    pub method: PaymentMethod,
    /// Which document it is.
    pub document: Document,
    /// For when the order is wanted, and until when it is held for that; `None`: its location was not asked.
    pub wanted: Option<Wanted>,
}

/// For when an order is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `None`: as soon as can be.
    pub at: Option<OffsetDateTime>,
    /// Its location's lead time before; `None`: that is over.
    pub held_until: Option<OffsetDateTime>,
}

/// What is kept of an order that a channel sent.
#[derive(Debug, Clone)]
pub struct Kept {
    /// To whom, how and when.
    pub handover: Handover,
    /// Its life there.
    pub imported: Option<Box<RawValue>>,
    /// The document that said so last.
    pub document: Document,
    /// How it is paid.
    pub method: PaymentMethod,
    /// Nothing is to be paid for it, or no longer: it is free, or the money came in.
    pub is_settled: bool,
    /// Its personal data is forgotten, and nobody may bring it back.
    pub is_forgotten: bool,
}

/// What a document changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// How it is handed over.
    Fulfilment,
    /// Whom to call.
    Customer,
    /// Where to bring it.
    DeliveryAddress,
    /// When.
    PickupTime,
    /// What is to be minded.
    Note,
    /// What became of it there, which the house only shows.
    StatusHistory,
}

impl Change {
    /// As the order's history names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fulfilment => "fulfilment",
            Self::Customer => "customer",
            Self::DeliveryAddress => "delivery_address",
            Self::PickupTime => "pickup_time",
            Self::Note => "note",
            Self::StatusHistory => "status_history",
        }
    }
}

/// What becomes of what is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is known already, or older than what is known.
    Nothing,
    /// These change, one after the other.
    Changes(Vec<Change>),
    /// Not any more, or not at all.
    Refused(Refusal),
}

impl Kept {
    /// What becomes of what is told of an order that stands at `status`.
    pub fn rule(&self, told: &Told, status: OrderStatus) -> Ruling {
        if !self.is_paid_so(told.method) {
            return Ruling::Refused(Refusal::SaidOtherwise);
        }
        if self.is_forgotten {
            return Ruling::Nothing;
        }
        let mut changes = differences(&self.handover, &told.handover);
        if !told.document.may_be(&self.document) {
            // Of the same order in the same words: somebody made a second document of it. Where nothing says that it is of the
            // same order, its number may have come again, and then it is somebody's food.
            return if changes.is_empty() && !told.document.is_another(&self.document) {
                Ruling::Nothing
            } else {
                Ruling::Refused(Refusal::SaidOtherwise)
            };
        }
        let is_newer = told.document.is_newer(&self.document);
        let is_repeat = || !changes.is_empty() && self.document.said.contains(&hash(&told.handover));
        if is_newer == Some(false) || is_newer.is_none() && is_repeat() {
            return Ruling::Nothing;
        }
        if changes.is_empty() && self.tells_more(told) {
            changes.push(Change::StatusHistory);
        }
        let is_to_be_made = changes.iter().any(|change| *change != Change::StatusHistory);
        if is_to_be_made && !may_change(status) {
            return Ruling::Refused(Refusal::KitchenBegan);
        }
        if changes.is_empty() { Ruling::Nothing } else { Ruling::Changes(changes) }
    }

    /// Whether there is another word of the order's life there.
    fn tells_more(&self, told: &Told) -> bool {
        let hash = |raw: &RawValue| content_hash(raw.get().as_bytes());
        self.imported.as_deref().map(hash) != Some(hash(&told.imported))
    }

    /// Whether the money comes from where it was said to come from. Who is paid already may be told so.
    fn is_paid_so(&self, told: PaymentMethod) -> bool {
        self.method == told || self.is_settled
    }

    /// The document as it is kept once it said what is told.
    pub fn document_after(&self, told: &Told) -> Document {
        let mut said = self.document.said.clone();
        if !differences(&self.handover, &told.handover).is_empty() {
            said.push(hash(&self.handover));
        }
        let said = said.split_off(said.len().saturating_sub(MOST_SAID));
        let Document { id, made_at, changed_at, steps, .. } = told.document.clone();
        let was = &self.document;
        Document {
            id: was.id.clone().or(id),
            made_at: was.made_at.or(made_at),
            changed_at: changed_at.or(was.changed_at),
            steps,
            said,
        }
    }
}

/// Until when it may go elsewhere, or at another time: as long as nobody makes it. A step back from making it counts.
const fn may_change(status: OrderStatus) -> bool {
    use OrderStatus::{Accepted, Confirmed, PaymentFailed, PaymentProcessing, Pending};
    matches!(status, Pending | PaymentProcessing | PaymentFailed | Confirmed | Accepted)
}

fn differences(kept: &Handover, told: &Handover) -> Vec<Change> {
    let all = [
        (Change::Fulfilment, kept.fulfilment != told.fulfilment),
        (Change::Customer, kept.customer != told.customer),
        (Change::DeliveryAddress, kept.delivery_address != told.delivery_address),
        (Change::PickupTime, moment(kept) != moment(told)),
        (Change::Note, kept.note != told.note),
    ];
    all.into_iter().filter_map(|(change, differs)| differs.then_some(change)).collect()
}

/// When, however it is written.
fn moment(handover: &Handover) -> Option<Result<OffsetDateTime, &str>> {
    handover.pickup_time.as_deref().map(|text| read_time(text).ok_or(text))
}

/// So that the same again is known; times count as times.
fn hash(handover: &Handover) -> String {
    let time = moment(handover).and_then(Result::ok).map(OffsetDateTime::unix_timestamp_nanos);
    let time = time.map(|nanos| nanos.to_string()).or_else(|| handover.pickup_time.clone());
    let said = Handover { pickup_time: time, ..handover.clone() };
    let json = serde_json::to_vec(&said).expect("strings are JSON");
    // Enough to tell a few dozen apart.
    content_hash(&json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::details::Customer;
    use OrderStatus::{
        Accepted, Cancelled, Confirmed, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing,
        Ready, Rejected,
    };

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn at(time: &str) -> Handover {
        Handover { pickup_time: Some(time.to_owned()), ..Handover::default() }
    }

    const SIX: &str = "2026-01-31T18:00:00Z";
    const SEVEN: &str = "2026-01-31T19:00:00Z";

    fn kept() -> Kept {
        Kept {
            handover: at(SIX),
            imported: Some(raw("{\"status\":10}")),
            document: Document { id: Some("d-1".into()), steps: 1, ..Document::default() },
            method: PaymentMethod::Card,
            is_settled: false,
            is_forgotten: false,
        }
    }

    fn told(handover: Handover) -> Told {
        let kept = kept();
        Told {
            handover,
            imported: raw("{\"status\":10.0}"),
            method: kept.method,
            document: kept.document,
            wanted: None,
        }
    }

    /// What is kept once it was told.
    fn after(kept: &Kept, told: &Told) -> Kept {
        let document = kept.document_after(told);
        Kept {
            handover: told.handover.clone(),
            imported: Some(told.imported.clone()),
            document,
            ..kept.clone()
        }
    }

    #[test]
    fn the_same_is_the_same_however_it_is_written() {
        let same = told(at("2026-01-31T19:00:00.000+01:00"));
        assert_eq!(kept().rule(&same, Confirmed), Ruling::Nothing);
    }

    #[test]
    fn what_is_another_is_named_as_long_as_nobody_makes_it() {
        let customer = Customer { name: Some("Ada".into()), phone_number: None };
        let other = told(Handover { customer: Some(customer), note: Some("no nuts".into()), ..at(SEVEN) });
        for status in OrderStatus::ALL {
            let expected = match status {
                Pending | PaymentProcessing | PaymentFailed | Confirmed | Accepted => {
                    Ruling::Changes(vec![Change::Customer, Change::PickupTime, Change::Note])
                }
                Preparing | Ready | Delivered | Rejected | Cancelled => {
                    Ruling::Refused(Refusal::KitchenBegan)
                }
            };
            assert_eq!(kept().rule(&other, status), expected, "{status:?}");
        }
    }

    #[test]
    fn what_became_of_it_there_is_shown_whatever_became_of_it_here_and_only_if_it_is_not_older() {
        let with = |imported: &str, steps| {
            let document = Document { steps, ..kept().document };
            Told { imported: raw(imported), document, ..told(at(SIX)) }
        };
        let shown = Ruling::Changes(vec![Change::StatusHistory]);
        for status in OrderStatus::ALL {
            assert_eq!(kept().rule(&with("{\"status\":90}", 2), status), shown, "{status:?}");
        }
        assert_eq!(kept().rule(&with("{\"status\":5}", 0), Confirmed), Ruling::Nothing);
    }

    #[test]
    fn a_late_repeat_changes_nothing_unless_it_says_that_it_is_newer() {
        let (first, moved) = (told(at(SIX)), told(at(SEVEN)));
        let kept = after(&kept(), &moved);
        assert_eq!(kept.rule(&moved, Confirmed), Ruling::Nothing);
        assert_eq!(kept.rule(&first, Confirmed), Ruling::Nothing, "the first document, sent again");
        let document = Document { steps: 2, ..first.document.clone() };
        let back = Told { document, ..first.clone() };
        let expected = Ruling::Changes(vec![Change::PickupTime]);
        assert_eq!(kept.rule(&back, Confirmed), expected, "it goes back, and says that it is newer");

        let second = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let timed = |seconds, told: &Told| Told {
            document: Document { changed_at: second(seconds), ..told.document.clone() },
            ..told.clone()
        };
        let kept = after(&kept, &timed(200, &moved));
        assert_eq!(kept.rule(&timed(100, &told(at("2026-01-31T20:00:00Z"))), Confirmed), Ruling::Nothing);
        assert_eq!(kept.rule(&timed(300, &first), Confirmed), expected);
    }

    #[test]
    fn another_document_changes_nothing_of_this_one_and_nobody_pays_otherwise() {
        let other = |handover| Told {
            document: Document { id: Some("d-2".into()), ..kept().document },
            ..told(handover)
        };
        let refused = Ruling::Refused(Refusal::SaidOtherwise);
        assert_eq!(kept().rule(&other(at(SIX)), Confirmed), refused, "another order in the same words");
        let made = |mut one: Document| {
            one.made_at = read_time(SIX);
            one
        };
        let kept_so = Kept { document: made(kept().document), ..kept() };
        let again = Told { document: made(other(at(SIX)).document), ..told(at(SIX)) };
        assert_eq!(kept_so.rule(&again, Confirmed), Ruling::Nothing, "made at the same moment");
        assert_eq!(kept().rule(&other(at(SEVEN)), Confirmed), refused);
        let paid = Told { method: PaymentMethod::Elsewhere, ..told(at(SIX)) };
        assert_eq!(kept().rule(&paid, Confirmed), refused);
        let collected = Kept { method: PaymentMethod::OnDelivery, is_settled: true, ..kept() };
        assert_eq!(collected.rule(&paid, Delivered), Ruling::Nothing, "who paid at the door has paid");
    }

    #[test]
    fn what_was_forgotten_stays_forgotten() {
        let forgotten = Kept { handover: Handover::default(), is_forgotten: true, imported: None, ..kept() };
        assert_eq!(forgotten.rule(&told(at(SIX)), Delivered), Ruling::Nothing);
        assert_eq!(forgotten.rule(&told(at(SEVEN)), Confirmed), Ruling::Nothing);
    }

    #[test]
    fn a_document_is_known_by_its_id_or_by_when_it_was_made() {
        let document = |id: Option<&str>, made: Option<i64>| Document {
            id: id.map(Into::into),
            made_at: made.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
            ..Document::default()
        };
        let kept = document(Some("d-1"), Some(100));
        for (told, may_be, surely) in [
            (document(Some("d-1"), Some(100)), true, true),
            (document(Some("d-1"), None), true, true),
            (document(None, Some(100)), true, true),
            (document(None, None), true, false),
            (document(Some("d-2"), Some(100)), false, false),
            (document(Some("d-1"), Some(101)), false, false),
            (document(None, Some(101)), false, false),
        ] {
            assert_eq!((told.may_be(&kept), told.is_surely(&kept)), (may_be, surely), "{told:?}");
        }
        assert!(document(None, None).is_surely(&document(None, None)));
    }
}
