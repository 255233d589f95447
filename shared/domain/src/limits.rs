//! How much of anything an order may have, and the currency of one that names none.

use crate::money::Currency;

/// Longest id or key a client may give: 200 characters hold any UUID, ULID or URN in use.
pub const MAX_ID_CHARS: usize = 200;
/// Longest name of an article.
pub const MAX_NAME_CHARS: usize = 500;
/// Most lines in an order: 200 keep the row and every event of it on a page or two.
pub const MAX_ITEMS: usize = 200;
/// Most of one article.
pub const MAX_QUANTITY: u32 = 10_000;
/// Currency of an order that names none.
pub const DEFAULT_CURRENCY: Currency = Currency::USD;
