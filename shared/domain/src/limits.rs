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
/// Most modifiers of all lines of an order together, those of modifiers among them.
pub const MAX_MODIFIERS: usize = 500;
/// How deep modifiers may lie in each other: a menu's dish has a side, which has a sauce, which has a size.
pub const MAX_DEPTH: usize = 5;
/// Most amounts beside the lines of an order, and beside a line.
pub const MAX_ADJUSTMENTS: usize = 50;
/// Longest note, of an order or a line.
pub const MAX_NOTE_CHARS: usize = 1_000;
/// Most entries of an order's metadata.
pub const MAX_METADATA: usize = 50;
/// Largest metadata, as JSON.
pub const MAX_METADATA_BYTES: usize = 4_096;
/// Longest name of an entry of metadata.
pub const MAX_METADATA_KEY_CHARS: usize = 50;
/// How long the kitchen has to take an order, where nobody says otherwise.
pub const ACCEPT_IN: Duration = Duration::from_secs(300);
/// Longest time that an order's charge may be given by the order itself: what is to be made later than in a week is to be ordered
/// later.
pub const MAX_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// How far ahead an order may be wanted: a wedding is ordered a year before.
pub const MAX_AHEAD: Duration = Duration::from_secs(366 * 86_400);
/// Currency of an order that names none.
pub const DEFAULT_CURRENCY: Currency = Currency::USD;
