//! What money did: the kinds that are counted apart.

use crate::order::adjustments::AdjustmentKind;

/// What money did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoneyKind {
    /// The gateway took it.
    Charged,
    /// The order's channel took it.
    Elsewhere,
    /// Staff took it in hand.
    Collected,
    /// It is to go back by the gateway.
    RefundOwed,
    /// It went back.
    Refunded,
    /// The channel has to give it back.
    ElsewhereBack,
    /// Staff have to give it back.
    CollectedBack,
    /// It is to be paid in hand; less what came in, and what nobody has to pay any more.
    Due,
    /// Within what came in or is due: for bringing it,
    DeliveryFee,
    /// for the service,
    ServiceFee,
    /// for those who serve,
    Tip,
    /// a tax that prices do not include,
    Tax,
    /// for what it is packed in,
    Bag,
    /// off the price,
    Discount,
    /// up or down to what can be paid in cash,
    Rounding,
    /// and anything else.
    Other,
}

impl MoneyKind {
    /// Every one, and its name. A kind is kept as its place here: a new one comes last.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Charged, "charged"),
        (Self::Elsewhere, "elsewhere"),
        (Self::Collected, "collected"),
        (Self::RefundOwed, "refund_owed"),
        (Self::Refunded, "refunded"),
        (Self::ElsewhereBack, "elsewhere_back"),
        (Self::CollectedBack, "collected_back"),
        (Self::Due, "due"),
        (Self::DeliveryFee, "delivery_fee"),
        (Self::ServiceFee, "service_fee"),
        (Self::Tip, "tip"),
        (Self::Tax, "tax"),
        (Self::Bag, "bag"),
        (Self::Discount, "discount"),
        (Self::Rounding, "rounding"),
        (Self::Other, "other"),
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl From<AdjustmentKind> for MoneyKind {
    fn from(kind: AdjustmentKind) -> Self {
        match kind {
            AdjustmentKind::DeliveryFee => Self::DeliveryFee,
            AdjustmentKind::ServiceFee => Self::ServiceFee,
            AdjustmentKind::Tip => Self::Tip,
            AdjustmentKind::Tax => Self::Tax,
            AdjustmentKind::Bag => Self::Bag,
            AdjustmentKind::Discount => Self::Discount,
            AdjustmentKind::Rounding => Self::Rounding,
            AdjustmentKind::Other => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_kept_as_its_place_which_is_the_same_for_good() {
        for (place, (kind, _)) in MoneyKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
        assert_eq!((MoneyKind::Charged as usize, MoneyKind::Other as usize), (0, 15));
        assert_eq!(MoneyKind::RefundOwed.as_str(), "refund_owed");
    }
}
