//! Dialects: what the documents of the platforms mean. A file each, pure functions from a document to our order.

mod deliverect;
mod draft;
pub mod plain;
mod shopify;
mod woocommerce;

use std::time::Duration;

use serde_json::value::RawValue;
use time::OffsetDateTime;

use self::draft::Named;
use crate::channel::name::ChannelName;
use crate::channel::settings::ChannelSettings;
pub use crate::channel::settings::Dialect;
use crate::order::NewOrder;
use crate::problems::{Problem, Problems};

/// An order of a platform, and what its document says beside it.
#[derive(Debug)]
pub struct Incoming {
    /// As it may be accepted.
    pub order: NewOrder,
    /// Our name of the location that is to make it, where the document names one that is set.
    pub location: Option<String>,
    /// Whether the platform says that it is off.
    pub is_cancelled: bool,
    /// The platform's own name for the document, which no other one ever has.
    pub document_id: Option<String>,
    /// When it came to be there.
    pub made_at: Option<OffsetDateTime>,
}

impl Dialect {
    /// The order of a document that says all of its prices itself, or all that is wrong with it. `None`: this dialect asks the
    /// channel's price list (`plain.rs`). The kitchen has `accept_in` to take what needs no charge.
    pub fn read(
        self,
        channel: ChannelName,
        document: &RawValue,
        settings: &ChannelSettings,
        accept_in: Duration,
    ) -> Option<Result<Incoming, Vec<Problem>>> {
        let read = match self {
            Self::Plain => return None,
            Self::Deliverect => deliverect::read,
            Self::Shopify => shopify::read,
            Self::WooCommerce => woocommerce::read,
        };
        let mut problems = Problems::default();
        problems.readable(document);
        let draft = read(document, settings, &mut problems);
        Some(match draft {
            Some(draft) if problems.0.is_empty() => {
                draft.order(Named::By(channel), document.to_owned(), settings, accept_in)
            }
            _ => Err(problems.0),
        })
    }
}

impl Problems {
    /// What is kept to the letter must be such that it can be read again, where it stands in the answer that shows it.
    fn readable(&mut self, document: &RawValue) {
        let shown = format!("[{document}]");
        if serde_json::from_str::<serde_json::Value>(&shown).is_err() {
            self.add(
                "body",
                "unreadable",
                "nests too deep, or has a number or a character that there is not",
            );
        } else if let Some(name) = crate::content::repeated(document.get().as_bytes()) {
            self.add(name, "repeated", "must be given once");
        }
    }
}
