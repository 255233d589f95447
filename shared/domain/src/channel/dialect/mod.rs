//! Dialects: what the documents of the platforms mean. A file each, pure functions from a document to our order.

pub mod back;
mod deliverect;
mod draft;
mod minded;
pub mod plain;
mod shopify;
mod woocommerce;

use std::time::Duration;

use serde_json::value::RawValue;

use self::draft::{Named, location};
use self::minded::kitchens;
use crate::channel::document::Document;
use crate::channel::name::ChannelName;
use crate::channel::reading::Object;
use crate::channel::settings::ChannelSettings;
pub use crate::channel::settings::Dialect;
use crate::channel::told::{CalledOff, Told, Wanted};
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
    /// Which document it is.
    pub document: Document,
}

impl Incoming {
    /// What it says of its order, should that be there already.
    pub fn told(&self) -> Option<Told> {
        let details = self.order.details.as_ref()?;
        Some(Told {
            handover: details.handover.clone(),
            imported: details.imported.clone()?,
            method: details.payment.method,
            document: self.document.clone(),
            wanted: Some(Wanted { at: details.wanted_at, held_until: details.held_until }),
        })
    }
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

    /// Our name of the location that a document names, where that one is set, whatever else is wrong with it.
    pub fn location(self, document: &RawValue, settings: &ChannelSettings) -> Option<String> {
        let mut ignored = Problems::default();
        let order = Object::whole(document, &mut ignored);
        let named = match self {
            Self::Plain | Self::Deliverect => kitchens(&order, settings, &mut ignored),
            Self::Shopify => shopify::kitchens(&order, &mut ignored),
            Self::WooCommerce => Vec::new(),
        };
        location(&named, settings).ok().flatten()
    }

    /// The order that a document calls off, be the rest of it as wrong as it may: what is off is not to be made because of a sum.
    pub fn called_off(self, document: &RawValue, settings: &ChannelSettings) -> Option<CalledOff> {
        let read = match self {
            Self::Plain => return plain::called_off(document, settings),
            Self::Deliverect => deliverect::read,
            Self::Shopify => shopify::read,
            Self::WooCommerce => woocommerce::read,
        };
        let mut problems = Problems::default();
        problems.readable(document);
        if !problems.0.is_empty() {
            return None;
        }
        let draft = read(document, settings, &mut problems)?;
        // One that nobody has set says nothing.
        let location = location(&draft.locations, settings).ok().flatten();
        draft.is_cancelled.then_some(CalledOff {
            order_id: draft.order_id,
            location,
            document: draft.document,
        })
    }
}

/// Which document it is, by the first field of each that there is.
fn which(order: &Object<'_>, [id, made_at, changed_at]: [&[&str]; 3], problems: &mut Problems) -> Document {
    let id = id.iter().find_map(|name| order.id(name, problems));
    let mut time = |names: &[&str]| names.iter().find_map(|name| order.time(name, problems));
    let (made_at, changed_at) = (time(made_at), time(changed_at));
    Document { id, made_at, changed_at, steps: order.entries("statusHistory"), said: Vec::new() }
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
