//! letter: what stands in a mail: its texts (a folder each below `templates`) and its headers. One Message-ID an order, version and
//! template: whatever is sent again is known as the same by whoever got it.

use std::time::SystemTime;

use domain::catalogue::product::Product;
use domain::mail::Mail;
use domain::money::Money;
use domain::order::Order;
use domain::order::adjustments::{Adjustment, AdjustmentKind};
use domain::order::lines::Item;
use domain::order::modifiers::Modifier;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use serde_json::value::RawValue;
use store::mail::Addressee;
use url::Url;
use uuid::Uuid;

/// Lines that a mail has; of more it says how many.
const MAX_LINES: usize = 100;
/// Longest name and subject: a header's line may have 998 bytes.
const MAX_CHARS: usize = 200;
/// Longest link, in bytes: far below the 998 that a line may have.
const MAX_LINK: usize = 700;

/// What the texts are made of.
pub(super) struct Shown {
    name: Option<String>,
    order: Uuid,
    status: &'static str,
    location: String,
    lines: Vec<Line>,
    /// Lines that are not shown.
    more: usize,
    beside: Vec<(String, String)>,
    total: String,
    unsubscribe: String,
}

/// What a sale's are made of.
struct Sale {
    name: Option<String>,
    product: String,
    price: String,
    /// It comes in variations, of which this is the lowest price.
    is_lowest: bool,
    unsubscribe: String,
}

struct Line {
    quantity: u32,
    name: String,
    worth: String,
    parts: Vec<String>,
}

/// A mail's texts.
struct Texts {
    subject: String,
    text: String,
    html: String,
}

macro_rules! texts {
    ($($folder:ident of $shown:ident: $subject:tt, $text:tt, $html:tt;)*) => {$(
        mod $folder {
            use askama::Template;

            use super::{$shown, Texts};

            #[derive(Template)]
            #[template(path = $subject)]
            struct Subject<'a> {
                shown: &'a $shown,
            }

            #[derive(Template)]
            #[template(path = $text)]
            struct Text<'a> {
                shown: &'a $shown,
            }

            #[derive(Template)]
            #[template(path = $html)]
            struct Html<'a> {
                shown: &'a $shown,
            }

            pub(super) fn texts(shown: &$shown) -> askama::Result<Texts> {
                let subject = Subject { shown }.render()?;
                Ok(Texts { subject, text: Text { shown }.render()?, html: Html { shown }.render()? })
            }
        }
    )*};
}

texts! {
    created of Shown: "created/subject.txt", "created/body.txt", "created/body.html";
    confirmed of Shown: "confirmed/subject.txt", "confirmed/body.txt", "confirmed/body.html";
    ready of Shown: "ready/subject.txt", "ready/body.txt", "ready/body.html";
    rejected of Shown: "rejected/subject.txt", "rejected/body.txt", "rejected/body.html";
    cancelled of Shown: "cancelled/subject.txt", "cancelled/body.txt", "cancelled/body.html";
    refunded of Shown: "refunded/subject.txt", "refunded/body.txt", "refunded/body.html";
    status of Shown: "status/subject.txt", "status/body.txt", "status/body.html";
    sale of Sale: "sale/subject.txt", "sale/body.txt", "sale/body.html";
}

impl Shown {
    fn texts(&self, mail: Mail) -> askama::Result<Texts> {
        match mail {
            Mail::Created => created::texts(self),
            Mail::Confirmed => confirmed::texts(self),
            Mail::Ready => ready::texts(self),
            Mail::Rejected => rejected::texts(self),
            Mail::Cancelled => cancelled::texts(self),
            Mail::Refunded => refunded::texts(self),
            Mail::PaymentProcessing
            | Mail::PaymentFailed
            | Mail::Accepted
            | Mail::Preparing
            | Mail::Delivered => status::texts(self),
        }
    }
}

/// Where an order stands, for people: it ..
const fn in_words(mail: Mail) -> &'static str {
    match mail {
        Mail::Created => "has come in",
        Mail::Confirmed => "is confirmed",
        Mail::Ready => "is ready",
        Mail::Rejected => "was refused",
        Mail::Cancelled => "was cancelled",
        Mail::Refunded => "was refunded",
        Mail::PaymentProcessing => "is being paid",
        Mail::PaymentFailed => "could not be paid",
        Mail::Accepted => "was taken by the kitchen",
        Mail::Preparing => "is being made",
        Mail::Delivered => "was handed over",
    }
}

/// What a mail is called: a file's name, and its Message-ID without the domain.
pub(super) fn name_of(subject: Uuid, version: i32, mail: Mail) -> String {
    format!("{subject}.{version}.{}", mail.as_str())
}

/// Who writes to whom, and where it can be stopped.
pub(super) struct Envelope<'a> {
    pub(super) name: &'a str,
    pub(super) from: &'a Mailbox,
    pub(super) to: &'a Addressee,
    pub(super) unsubscribe: &'a Url,
}

/// A mail about an order; the error is why there can be none.
pub(super) fn about(
    mail: Mail,
    order: &Order,
    location: &str,
    envelope: &Envelope<'_>,
) -> Result<Message, &'static str> {
    let items: Vec<Item> = serde_json::from_str(order.items.get()).map_err(|_| "no_lines")?;
    let currency = order.total.currency();
    let money = |minor| format!("{} {}", Money::from_minor(minor, currency), currency.code());
    let line = |item: &Item| Line {
        quantity: item.quantity,
        name: item.item_name.clone(),
        worth: item.worth(currency).map_or_else(String::new, money),
        parts: parts(item),
    };
    let shown = Shown {
        name: envelope.to.name.clone(),
        order: order.id,
        status: in_words(mail),
        location: location.to_owned(),
        lines: items.iter().take(MAX_LINES).map(line).collect(),
        more: items.len().saturating_sub(MAX_LINES),
        beside: order
            .details
            .iter()
            .flat_map(|details| &details.adjustments)
            .map(|one| beside(one, currency.code()))
            .collect(),
        total: money(order.total.minor()),
        unsubscribe: envelope.unsubscribe.to_string(),
    };
    let texts = shown.texts(mail).map_err(|_| "no_texts")?;
    message(envelope, texts)
}

/// What a notice of a sale is called.
pub(super) fn name_of_sale(notice: Uuid, version: i32) -> String {
    format!("{notice}.{version}.sale")
}

/// A mail that a product's price dropped.
pub(super) fn about_sale(product: &Product, envelope: &Envelope<'_>) -> Result<Message, &'static str> {
    let sale = Sale {
        name: envelope.to.name.clone(),
        product: product.name.clone(),
        price: format!("{} {}", product.price, product.currency().code()),
        is_lowest: !product.variations.is_empty(),
        unsubscribe: envelope.unsubscribe.to_string(),
    };
    message(envelope, sale::texts(&sale).map_err(|_| "no_texts")?)
}

/// What was chosen with a line, and what is beside it.
fn parts(item: &Item) -> Vec<String> {
    fn chosen(modifiers: &[Modifier], all: &mut Vec<String>) {
        for one in modifiers {
            let times = if one.quantity == 1 { String::new() } else { format!("{} x ", one.quantity) };
            all.push(format!("{times}{}", one.name));
            chosen(&one.modifiers, all);
        }
    }
    let mut all = Vec::new();
    chosen(&item.modifiers, &mut all);
    all.truncate(MAX_LINES);
    all
}

/// An amount beside the lines: what it is called, and how much it is.
fn beside(one: &Adjustment, currency: &str) -> (String, String) {
    let kind = AdjustmentKind::ALL.into_iter().find(|(_, kind)| *kind == one.kind);
    let kind = kind.map_or_else(String::new, |(name, _)| name.replace('_', " "));
    (one.name.clone().unwrap_or(kind), format!("{} {currency}", RawValue::get(&one.amount)))
}

/// In one line of a bounded length, whatever somebody or something is called.
fn in_one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
}

fn message(envelope: &Envelope<'_>, texts: Texts) -> Result<Message, &'static str> {
    let Envelope { name, from, to, unsubscribe } = envelope;
    let address: Address = to.email.parse().map_err(|_| "no_address")?;
    let link = format!("<{unsubscribe}>");
    if link.len() > MAX_LINK {
        return Err("no_link");
    }
    let own = |name: &'static str, value: &str| {
        // As it is: a link that is folded or encoded is none. A URL has neither spaces nor line breaks.
        HeaderValue::dangerous_new_pre_encoded(
            HeaderName::new_from_ascii_str(name),
            value.to_owned(),
            value.to_owned(),
        )
    };
    Message::builder()
        .from((*from).clone())
        .to(Mailbox::new(to.name.as_deref().map(in_one_line).filter(|name| !name.is_empty()), address))
        .subject(in_one_line(&texts.subject))
        .date(SystemTime::now())
        .message_id(Some(format!("<{name}@{}>", from.email.domain())))
        .raw_header(own("List-Unsubscribe", &link))
        .raw_header(own("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        // So that nobody's absence is answered to it (RFC 3834).
        .raw_header(own("Auto-Submitted", "auto-generated"))
        .multipart(MultiPart::alternative_plain_html(texts.text, texts.html))
        .map_err(|_| "no_mail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_written_to_by_what_stands_in_a_name_or_a_subject() {
        let from: Mailbox = "Comanda <orders@example.com>".parse().unwrap();
        let unsubscribe = Url::parse("https://orders.example.com/api/v1/unsubscribe/abc").unwrap();
        let evil = "Ada\r\nBcc: eve@example.com\r\n\r\nHello";
        for name in [
            evil.to_owned(),
            format!("\u{e4}{evil}"),
            evil.replace('\r', ""),
            "\u{0}\u{85}".to_owned(),
            "a".repeat(5_000),
        ] {
            let to = Addressee { email: "ada@example.com".to_owned(), name: Some(name.clone()) };
            let envelope = Envelope { name: "1.created", from: &from, to: &to, unsubscribe: &unsubscribe };
            let texts = Texts { subject: name.clone(), text: name.clone(), html: name.clone() };
            let message = message(&envelope, texts).unwrap();
            assert_eq!(message.envelope().to(), ["ada@example.com".parse::<Address>().unwrap()]);
            let text = String::from_utf8(message.formatted()).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            for line in head.split("\r\n") {
                assert!(!line.starts_with("Bcc") && !line.contains(['\r', '\n']), "{head}");
                assert!(line.len() < 998, "{}", line.len());
            }
            assert!(
                head.contains(
                    "\r\nList-Unsubscribe: <https://orders.example.com/api/v1/unsubscribe/abc>\r\n"
                )
            );
        }
        let wrong =
            Addressee { email: "ada@example.com\r\nRCPT TO:<eve@example.com>".to_owned(), name: None };
        let envelope = Envelope { name: "1.created", from: &from, to: &wrong, unsubscribe: &unsubscribe };
        let texts = Texts { subject: String::new(), text: String::new(), html: String::new() };
        assert_eq!(message(&envelope, texts).unwrap_err(), "no_address");
    }
}
