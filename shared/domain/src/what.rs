//! What can happen to an order or a product.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(type_name = "event_what", rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The order came to be, with its lines and its total.
    Accepted,
    /// It went from one status to another. With the payment that decided it, and the money where some was taken.
    Moved,
    /// Lines were added, with a charge of their own.
    Added,
    /// That charge took the money.
    AdditionCharged,
    /// That charge failed, and the lines are off again.
    AdditionDropped,
    /// It is to be cancelled once its charge is known.
    CancelWished,
    /// Its channel told otherwise when, where, to whom or how it goes, what is to be minded, or what became of it there. The
    /// reason names which.
    Told,
    /// Its personal data is forgotten.
    Forgotten,
    /// A charge took the money after the order had ended, or beside the one that paid it: it goes back.
    LateCapture,
    /// Nobody came for the order, and the money of this payment stays.
    Kept,
    /// Staff took the money of this payment when the order was handed over.
    Collected,
    /// Money is to go back: there is a refund.
    RefundOwed,
    /// It went back.
    Refunded,
    /// A product came to be.
    ProductMade,
    /// Something of it changed, and no price.
    ProductChanged,
    /// A price of it changed.
    PriceChanged,
    /// A price of it fell by more than half.
    PriceDropped,
    /// It is sold no longer.
    ProductDeleted,
    /// Somebody said how many there are.
    StockSet,
    /// So many came.
    StockAdded,
    /// So many left without an order.
    StockShipped,
}

impl What {
    /// Every kind of event of a product.
    pub const OF_PRODUCTS: [Self; 8] = [
        Self::ProductMade,
        Self::ProductChanged,
        Self::PriceChanged,
        Self::PriceDropped,
        Self::ProductDeleted,
        Self::StockSet,
        Self::StockAdded,
        Self::StockShipped,
    ];

    /// Whether it happens to a product, and to no order.
    pub fn is_of_product(self) -> bool {
        Self::OF_PRODUCTS.contains(&self)
    }

    /// Every kind of event of an order.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Moved,
        Self::Added,
        Self::AdditionCharged,
        Self::AdditionDropped,
        Self::CancelWished,
        Self::Told,
        Self::Forgotten,
        Self::LateCapture,
        Self::Kept,
        Self::Collected,
        Self::RefundOwed,
        Self::Refunded,
    ];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Moved => "moved",
            Self::Added => "added",
            Self::AdditionCharged => "addition_charged",
            Self::AdditionDropped => "addition_dropped",
            Self::CancelWished => "cancel_wished",
            Self::Told => "told",
            Self::Forgotten => "forgotten",
            Self::LateCapture => "late_capture",
            Self::Kept => "kept",
            Self::Collected => "collected",
            Self::RefundOwed => "refund_owed",
            Self::Refunded => "refunded",
            Self::ProductMade => "product_made",
            Self::ProductChanged => "product_changed",
            Self::PriceChanged => "price_changed",
            Self::PriceDropped => "price_dropped",
            Self::ProductDeleted => "product_deleted",
            Self::StockSet => "stock_set",
            Self::StockAdded => "stock_added",
            Self::StockShipped => "stock_shipped",
        }
    }
}
