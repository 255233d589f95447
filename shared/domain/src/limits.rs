//! How much of anything an order may have, and the currency of one that names none.

use std::time::Duration;

use crate::money::Currency;

/// Longest id or key a client may give: 200 characters hold any UUID, ULID or URN in use.
pub const MAX_ID_CHARS: usize = 200;
/// Longest name of an article.
pub const MAX_NAME_CHARS: usize = 500;
/// Most lines in an order: 200 keep the row and every event of it on a page or two.
pub const MAX_ITEMS: usize = 200;
/// Most of one article.
pub const MAX_QUANTITY: u32 = 10_000;
/// Longest time that an order's charge may be given by the order itself: what is to be made later than in a week is to be ordered
/// later.
pub const MAX_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// Currency of an order that names none.
pub const DEFAULT_CURRENCY: Currency = Currency::USD;
